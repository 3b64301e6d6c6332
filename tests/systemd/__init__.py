"""The service under a real systemd, in a container of Debian 12: ``make systemd``."""
