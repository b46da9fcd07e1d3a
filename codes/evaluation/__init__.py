"""PSNR and SSIM, the evaluation of a method on a data set, and the tables made of it."""
