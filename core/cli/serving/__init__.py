"""Commands around what is served on a device: the service, and the bundles that it is given."""
