"""Sources: the rows and models everything starts from, each with a manifest and checksums."""
