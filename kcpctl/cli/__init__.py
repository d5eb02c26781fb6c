"""The command line: argument parsing, printing, progress. Nothing imports it."""
