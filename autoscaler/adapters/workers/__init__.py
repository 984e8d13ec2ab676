"""Where the simulations of a study run: processes of this machine, or a Dask cluster."""
