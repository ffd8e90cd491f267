"""What `pairscore doctor` looks at: the machine, what is installed, the folders, the model, and how fast it runs."""
