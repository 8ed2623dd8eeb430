"""Making the network: data, network, train, calibrate, evaluate, register, pictures."""
