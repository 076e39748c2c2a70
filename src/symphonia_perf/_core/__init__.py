"""What the blocks share and no user imports: plumbing without opinions."""
