"""Label lists, annotations, images and the checks on them."""
