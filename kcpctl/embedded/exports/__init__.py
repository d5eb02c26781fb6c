"""APIs that one workspace exports and others bind: the group apis.kcp.io."""
