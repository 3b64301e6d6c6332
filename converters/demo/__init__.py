"""The demo: three small networks trained on real public data, with the script that trained them."""
