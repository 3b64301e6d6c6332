"""How often two networks answer alike, with exact bounds."""
