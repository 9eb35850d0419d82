"""What the pages ask of a study: SQL over its Parquet tables, one file a page."""
