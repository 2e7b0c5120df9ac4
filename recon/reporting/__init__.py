"""Pictures and pages of what came out."""
