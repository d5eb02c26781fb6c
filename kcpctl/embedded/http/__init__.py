"""HTTP: routing, negotiation, lists, watches and writes."""
