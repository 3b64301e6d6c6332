"""Workstation side: trained networks in, similarity, grafting, conversion, a bundle out."""
