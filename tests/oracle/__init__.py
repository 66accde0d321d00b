"""The numbers against the libraries a quant would compare them with."""
