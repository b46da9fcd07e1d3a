"""General helpers, which do not depend on deconvolution: errors, files, registries."""
