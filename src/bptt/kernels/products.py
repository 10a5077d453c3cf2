"""The matrix products of the walk, as loops over flat arrays.

Every matrix is a part of a flat vector: (rows, columns) numbers from an offset, row after row. The
innermost loop always runs along memory, so that it vectorises. Row pieces are taken as
slices before the innermost loop; a slice costs as much as a dozen multiplications.
"""

from bptt.kernels.compiler import kernel


@kernel
def add_product(x, B, N, M, start, width, first, J, out):
    """out[b, :] += sum_i x[b, i] M[i, first:first+J]; x (B*N), out (B*J), M's rows `width` long."""
    for b in range(B):
        row = out[b * J : b * J + J]
        for i in range(N):
            factor = x[b * N + i]
            weights = M[start + i * width + first : start + i * width + first + J]
            for j in range(J):
                row[j] += factor * weights[j]


@kernel
def add_product_transposed(d, B, J, M, start, width, first, N, out):
    """out[b, i] += sum_j d[b, j] M[i, first + j]; d (B*J), out (B*N)."""
    for b in range(B):
        row = d[b * J : b * J + J]
        for i in range(N):
            weights = M[start + i * width + first : start + i * width + first + J]
            total = out[b * N + i]
            for j in range(J):
                total += row[j] * weights[j]
            out[b * N + i] = total


@kernel
def add_outer(x, B, N, d, J, g, start, width, first):
    """g[i, first + j] += sum_b x[b, i] d[b, j]: the gradient of the matrix of `add_product`."""
    for b in range(B):
        row = d[b * J : b * J + J]
        for i in range(N):
            factor = x[b * N + i]
            gradient = g[start + i * width + first : start + i * width + first + J]
            for j in range(J):
                gradient[j] += factor * row[j]


@kernel
def add_rows(ids, B, M, start, width, first, J, out):
    """out[b, :] += M[ids[b], first:first+J]: the product with one-hot inputs."""
    for b in range(B):
        row = out[b * J : b * J + J]
        place = start + ids[b] * width + first
        weights = M[place : place + J]
        for j in range(J):
            row[j] += weights[j]


@kernel
def add_outer_rows(ids, B, d, J, g, start, width, first):
    """g[ids[b], first + j] += d[b, j]: the gradient of the matrix of `add_rows`."""
    for b in range(B):
        row = d[b * J : b * J + J]
        place = start + ids[b] * width + first
        gradient = g[place : place + J]
        for j in range(J):
            gradient[j] += row[j]


@kernel
def fill_bias(bias, start, B, J, out):
    """out[b, :] = bias[start:start+J], or zero where start is negative."""
    for b in range(B):
        row = out[b * J : b * J + J]
        if start < 0:
            for j in range(J):
                row[j] = 0
        else:
            values = bias[start : start + J]
            for j in range(J):
                row[j] = values[j]


@kernel
def add_sum(d, B, J, g, start):
    """g[j] += sum_b d[b, j]: the gradient of a bias."""
    gradient = g[start : start + J]
    for b in range(B):
        row = d[b * J : b * J + J]
        for j in range(J):
            gradient[j] += row[j]
