"""From validated options to a network with weights on a device."""
