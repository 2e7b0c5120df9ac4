"""Jobs of a launch: what a site asks, what runs, how it stands."""
