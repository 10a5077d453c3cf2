"""PyTorch, eager, with its own nn.RNN, nn.LSTM and nn.GRU, time-major.

Optimizers: torch.optim's, as a loop over tensors, `foreach` or `fused`, whichever is fastest; the
RMSprop with look-ahead, which torch.optim does not have, from its foreach operations. Many
models at once: one batched product (baddbmm) per step over the stacked weights.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case, Problem, Weights
from benchmarks.contender import Form, Prepared

LABEL = "PyTorch"


def missing() -> str:
    """Why it cannot run here."""
    return "" if importlib.util.find_spec("torch") else "torch is not installed"


def versions() -> dict[str, str]:
    """PyTorch's version."""
    import torch

    return {"torch": torch.__version__}


def covers(case: Case) -> bool:
    """All but trained GRUs, whose biases PyTorch counts twice, and many models of other cells."""
    return not (case.cell == "gru" and case.trains) and (case.models == 1 or case.cell == "elman")


def forms(case: Case, threads: int) -> list[Form]:
    """Ways of the optimizer's step."""
    if case.models > 1:
        return [{"products": "baddbmm"}]
    if case.optimizer in ("sgd", "adagrad"):
        return [{"optimizer": way} for way in ("loop", "foreach", "fused")]
    return [{"optimizer": "foreach"}] if case.trains else [{"module": f"nn.{case.cell.upper()}"}]


def prepare(case: Case, problem: Problem, threads: int, form: Form) -> Prepared:
    """The work, ready to be run."""
    import torch

    torch.set_num_threads(threads)
    return ManyModels(case, problem) if case.models > 1 else OneModel(case, problem, form)


def _tensor(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


class OneModel:
    """One network made of PyTorch's modules."""

    def __init__(self, case: Case, problem: Problem, form: Form) -> None:
        import torch

        self.case = case
        self.form = form
        self.weights = {name: value[0] for name, value in problem.weights.items()}
        kind = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case.cell]
        dtype = getattr(torch, case.dtype)
        self.cell = kind(case.inputs, case.hidden, dtype=dtype)
        self.readout = torch.nn.Linear(case.hidden, case.outputs, dtype=dtype)
        x = problem.x[0]
        x = np.eye(case.inputs, dtype=case.dtype)[x] if case.tokens else x
        self.x = _tensor(x.swapaxes(1, 2))  # (N, T, B, D)
        y = _tensor(problem.y[0].swapaxes(1, 2))
        self.y = y.long().flatten(1) if case.output == "softmax" else y
        loss = {
            "sigmoid": torch.nn.functional.binary_cross_entropy_with_logits,
            "softmax": torch.nn.functional.cross_entropy,
            "linear": torch.nn.functional.mse_loss,
        }[case.output]
        self.loss: Callable[..., Any] = loss
        # One of two biases is enough: with both trained, each step would count twice.
        self.cell.bias_hh_l0.requires_grad_(case.cell == "gru")
        self.named = {
            "U": self.cell.weight_ih_l0,
            "W": self.cell.weight_hh_l0,
            "b": self.cell.bias_ih_l0,
            "V": self.readout.weight,
            "c": self.readout.bias,
        }

    def reset(self) -> None:
        """Back to the initial weights."""
        import torch

        size = self.case.hidden
        with torch.no_grad():
            self.cell.bias_hh_l0.zero_()
            for name, parameter in self.named.items():
                value = self.weights[name]
                if self.case.cell == "gru" and name == "b":
                    self.cell.bias_hh_l0[2 * size :] = _tensor(value[3 * size :])
                    value = value[: 3 * size]
                parameter.copy_(_tensor(value.T))

    def backward(self, n: int) -> None:
        """Gradients of iteration n's batch."""
        states, _ = self.cell(self.x[n])
        output = self.readout(states)
        if self.case.output == "softmax":
            output = output.flatten(0, 1)
        loss = self.loss(output, self.y[n], reduction=self.case.reduction)
        if self.case.output == "linear":
            loss = 0.5 * loss
        loss.backward()

    def run(self) -> None:
        """All iterations."""
        self.reset()
        step = self.optimizer()
        for n in range(len(self.x)):
            step(n)

    def optimizer(self) -> Callable[[int], None]:
        """A function that does one iteration."""
        import torch

        case, parameters = self.case, list(self.named.values())
        if not case.trains:

            def gradients(n: int) -> None:
                for parameter in (*self.cell.parameters(), *self.readout.parameters()):
                    parameter.grad = None
                self.backward(n)

            return gradients
        if case.optimizer == "rmsprop_nesterov":
            return self.look_ahead(parameters)
        way = self.form["optimizer"]
        ways = {"foreach": way == "foreach", "fused": way == "fused"}
        ways = {} if way == "loop" else ways
        optimizer: Any
        if case.optimizer == "sgd":
            optimizer = torch.optim.SGD(parameters, lr=case.learning_rate, **(ways or LOOP))
        else:
            optimizer = torch.optim.Adagrad(
                parameters, lr=case.learning_rate, eps=case.epsilon, **(ways or LOOP)
            )

        def iteration(n: int) -> None:
            optimizer.zero_grad()
            self.backward(n)
            optimizer.step()

        return iteration

    def look_ahead(self, parameters: list[Any]) -> Callable[[int], None]:
        """RMSprop with Nesterov's look-ahead."""
        import torch

        case = self.case
        velocity = [torch.zeros_like(parameter) for parameter in parameters]
        square = [torch.zeros_like(parameter) for parameter in parameters]

        def iteration(n: int) -> None:
            with torch.no_grad():
                torch._foreach_mul_(velocity, case.momentum)
                torch._foreach_add_(parameters, velocity)
            for parameter in parameters:
                parameter.grad = None
            self.backward(n)
            gradients = [parameter.grad for parameter in parameters]
            with torch.no_grad():
                torch._foreach_mul_(square, case.decay)
                torch._foreach_addcmul_(square, gradients, gradients, 1 - case.decay)
                root = torch._foreach_sqrt(square)
                torch._foreach_add_(root, case.epsilon)
                steps = torch._foreach_div(gradients, root)
                torch._foreach_add_(velocity, steps, alpha=-case.learning_rate)
                torch._foreach_add_(parameters, steps, alpha=-case.learning_rate)

        return iteration

    def result(self) -> Weights:
        """Weights, or gradients, (1, ...)."""
        got = {}
        for name, parameter in self.named.items():
            value = parameter.detach() if self.case.trains else parameter.grad
            got[name] = value.numpy().T.copy()
        if self.case.cell == "gru":
            recurrent = self.cell.bias_hh_l0.grad.numpy()[2 * self.case.hidden :]
            got["b"] = np.concatenate([got["b"], recurrent])
        return {name: value[None] for name, value in got.items()}


LOOP = {"foreach": False}


class ManyModels:
    """Elman networks side by side: their weights stacked, one batched product a step."""

    def __init__(self, case: Case, problem: Problem) -> None:
        self.case = case
        self.weights = problem.weights
        self.x = _tensor(np.moveaxis(problem.x, 0, 1))  # (N, M, B, T, D)
        self.y = _tensor(np.moveaxis(problem.y, 0, 1))
        self.p: dict[str, Any] = {}

    def run(self) -> None:
        """All iterations."""
        import torch

        rate = self.case.learning_rate
        self.p = {name: _tensor(value.copy()) for name, value in self.weights.items()}
        for name in ("b", "c"):
            self.p[name] = self.p[name][:, None]
        parameters = [value.requires_grad_() for value in self.p.values()]
        for n in range(len(self.x)):
            gradients = torch.autograd.grad(self.loss(n), parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-rate)

    def loss(self, n: int) -> Any:
        """Loss of all models, summed: their gradients do not mix."""
        import torch

        p, case = self.p, self.case
        rows = (case.models, case.batch * case.steps, case.inputs)
        inputs = torch.baddbmm(p["b"], self.x[n].reshape(rows), p["U"])
        inputs = inputs.view(case.models, case.batch, case.steps, case.hidden)
        h = torch.tanh(inputs[:, :, 0])
        states = [h]
        for t in range(1, case.steps):
            h = torch.tanh(torch.baddbmm(inputs[:, :, t], h, p["W"]))
            states.append(h)
        together = torch.stack(states, 2).flatten(1, 2)
        output = torch.baddbmm(p["c"], together, p["V"])
        return torch.nn.functional.binary_cross_entropy_with_logits(
            output, self.y[n].flatten(1, 2), reduction="sum"
        )

    def result(self) -> Weights:
        """Weights (M, ...)."""
        got = {name: value.detach().numpy().copy() for name, value in self.p.items()}
        return got | {name: got[name][:, 0] for name in ("b", "c")}
