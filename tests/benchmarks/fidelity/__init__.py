"""How close simulations come to reality: the same load, simulated and on real components."""
