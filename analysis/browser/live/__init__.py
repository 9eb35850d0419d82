"""The parts of the web app that want the language model: one engine that writes and reads, one request at a time."""
