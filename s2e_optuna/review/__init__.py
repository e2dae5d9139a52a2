"""Labels that a person looks at: which are drawn, what was answered, and what that says."""
