"""Files on disk: written whole or not at all, typed records, tables, digests of what made them."""
