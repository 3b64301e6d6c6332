"""The demo: where its data lies, and the script that trained its three small networks on real public data."""
