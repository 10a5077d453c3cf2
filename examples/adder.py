"""Train a network to add two 8-bit numbers, test it, use it, keep it."""

import bptt

task = bptt.Addition(bits=8)
run = bptt.train(task, seed=1)
print(run)

x, y = task.encode([(100, 55)])
p = run.network.predict(x)
print("100 + 55 =", task.decode(p[..., 0] > 0.5)[0])

run.save("runs/adder")
network = bptt.load("runs/adder")
print("loaded, the same:", (network.predict(x) == p).all())
