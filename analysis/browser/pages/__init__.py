"""What the pages show, one module a page: each has `register(pages)`."""
