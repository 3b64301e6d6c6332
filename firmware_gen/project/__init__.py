"""The generated project as files: C sources, build files, folder."""
