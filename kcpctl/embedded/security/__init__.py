"""Who may do what: the CA, tokens, authentication, RBAC and the reviews."""
