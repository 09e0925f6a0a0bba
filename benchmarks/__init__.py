"""Side by side with peers and against what must be computed: one module a subject, each runnable by itself."""
