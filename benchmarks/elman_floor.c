/* The practical floor of online training: an Elman network with one sigmoid output, batch 1,
 * gradient descent, all sizes fixed at compile time (-DH= -DT= -DD=), in GCC vector extensions.
 *
 * VL lanes a vector, CHAINS independent sums a product (they hide the latency of the FMAs).
 * W and its transpose are both kept, so that the product backward needs no horizontal sums; weight
 * gradients are taken after the walk, T of them while a row is in registers; the deltas
 * carry the learning rate.
 */
#include <string.h>

typedef float v __attribute__((vector_size(VL * 4)));
typedef int vi __attribute__((vector_size(VL * 4)));
#define HP ((H + VL - 1) / VL * VL)
#define NV (HP / VL)
#define TV ((T + VL - 1) / VL)
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL_ALL _Pragma("GCC unroll 64")
#define ALIGNED __attribute__((aligned(64)))

/* e^z - 1 for 0 <= z <= 2 * 9.1:  z = n ln 2 + r,  e^z - 1 = 2^n (e^r - 1) + (2^n - 1).
 * Adding 1.5 * 2^23 rounds to an integer n and leaves it in the low bits. */
static inline v tanh_v(v x) {
  vi sign = (vi)x & (vi)((vi){} + (int)0x80000000);
  v z = (v)((vi)x ^ sign) * 2.0f, most = (v){} + 18.2f;
  vi over = z > most;
  z = (v)(((vi)most & over) | ((vi)z & ~over));
  v shifted = z * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
  v r = z - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  v r2 = r * r;
  v q = (r * (1.0f / 24) + 1.0f / 6) +
        r2 * ((r * (1.0f / 720) + 1.0f / 120) + r2 * (1.0f / 5040));
  v p = r + r2 * (r * q + 0.5f);
  v power = (v)(((vi)shifted << 23) + 0x3f800000);
  v e = power * p + (power - 1.0f);
  return (v)((vi)(e / (e + 2.0f)) | sign);
}

static inline float sum4(float __attribute__((vector_size(16))) a) {
  a += __builtin_shufflevector(a, a, 2, 3, 0, 1);
  return a[0] + a[1];
}
#if VL == 4
#define sum_v sum4
#else
static inline float sum8(float __attribute__((vector_size(32))) a) {
  return sum4(__builtin_shufflevector(a, a, 0, 1, 2, 3) +
              __builtin_shufflevector(a, a, 4, 5, 6, 7));
}
#if VL == 8
#define sum_v sum8
#else
static inline float sum_v(v a) {
  return sum8(__builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
              __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15));
}
#endif
#endif

/* a += sum over i of s[i] M[i] */
static inline void product(v *restrict a, const float *restrict s, v (*restrict M)[NV]) {
  v part[CHAINS][NV];
  UNROLL for (int k = 0; k < CHAINS; k++)
    UNROLL for (int q = 0; q < NV; q++) part[k][q] = k ? (v){} : a[q];
  UNROLL_ALL for (int i = 0; i < H; i++)
    UNROLL for (int q = 0; q < NV; q++) part[i % CHAINS][q] += s[i] * M[i][q];
  UNROLL for (int q = 0; q < NV; q++) {
    v total = part[0][q];
    UNROLL for (int k = 1; k < CHAINS; k++) total += part[k][q];
    a[q] = total;
  }
}

/* x (N, T, D), y (N, T); U (D, H), W (H, H), b (H), V (H), c (1) are trained in place. */
void train(long N, const float *x, const float *y, float *U_, float *W_, float *b_, float *V_,
           float *c_, float rate) {
  v U[D][NV] ALIGNED, W[HP][NV] ALIGNED, WT[HP][NV] ALIGNED, b[NV] ALIGNED, V[NV] ALIGNED;
  v h[T][NV] ALIGNED, d[T][NV] ALIGNED, o[TV] ALIGNED;
  float c = c_[0], *out = (float *)o;
  memset(U, 0, sizeof U), memset(W, 0, sizeof W), memset(WT, 0, sizeof WT);
  memset(b, 0, sizeof b), memset(V, 0, sizeof V), memset(o, 0, sizeof o);
  for (int i = 0; i < D; i++) memcpy(U[i], U_ + i * H, H * 4);
  memcpy(b, b_, H * 4), memcpy(V, V_, H * 4);
  for (int i = 0; i < H; i++)
    for (int j = 0; j < H; j++)
      ((float *)W)[i * HP + j] = ((float *)WT)[j * HP + i] = W_[i * H + j];
  for (long n = 0; n < N; n++, x += T * D, y += T) {
    UNROLL for (int t = 0; t < T; t++) {
      v a[NV], s = (v){};
      UNROLL for (int q = 0; q < NV; q++) {
        a[q] = b[q];
        UNROLL for (int i = 0; i < D; i++) a[q] += x[t * D + i] * U[i][q];
      }
      if (t) product(a, (float *)h[t - 1], W);
      UNROLL for (int q = 0; q < NV; q++) {
        h[t][q] = tanh_v(a[q]);
        s += h[t][q] * V[q];
      }
      out[t] = sum_v(s) + c;
    }
    UNROLL for (int k = 0; k < TV; k++) o[k] = tanh_v(o[k] * 0.5f) * 0.5f + 0.5f;
    UNROLL for (int t = 0; t < T; t++) out[t] = rate * (out[t] - y[t]);
    UNROLL for (int t = T - 1; t >= 0; t--) {
      v a[NV];
      UNROLL for (int q = 0; q < NV; q++) a[q] = out[t] * V[q];
      if (t < T - 1) product(a, (float *)d[t + 1], WT);
      UNROLL for (int q = 0; q < NV; q++) d[t][q] = a[q] - a[q] * h[t][q] * h[t][q];
    }
    UNROLL for (int t = 0; t < T; t++) c -= out[t];
    UNROLL for (int q = 0; q < NV; q++) {
      UNROLL for (int t = 0; t < T; t++) V[q] -= out[t] * h[t][q];
      UNROLL for (int t = 0; t < T; t++) b[q] -= d[t][q];
      UNROLL for (int i = 0; i < D; i++)
        UNROLL for (int t = 0; t < T; t++) U[i][q] -= x[t * D + i] * d[t][q];
    }
    for (int i = 0; i < H; i++)
      UNROLL for (int q = 0; q < NV; q++) {
        v w = W[i][q], wt = WT[i][q];
        UNROLL for (int t = 1; t < T; t++) {
          w -= ((float *)h[t - 1])[i] * d[t][q];
          wt -= ((float *)d[t])[i] * h[t - 1][q];
        }
        W[i][q] = w, WT[i][q] = wt;
      }
  }
  for (int i = 0; i < D; i++) memcpy(U_ + i * H, U[i], H * 4);
  for (int i = 0; i < H; i++) memcpy(W_ + i * H, W[i], H * 4);
  memcpy(b_, b, H * 4), memcpy(V_, V, H * 4), c_[0] = c;
}
