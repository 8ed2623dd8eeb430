"""Making the network: data, network, train, distill, evaluate, register."""
