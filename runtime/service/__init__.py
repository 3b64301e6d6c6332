"""The service: frames answered for as long as the machine runs, watched over by systemd."""
