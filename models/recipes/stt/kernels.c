/* Fused bf16 tanh-GELU and softmax, forward and backward, for training on a CPU: many times faster than torch 1.13's own.
   Compiled by kernels.py when a C compiler is at hand; without one, torch's operators are used. */
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float up(uint16_t v) { uint32_t u = (uint32_t)v << 16; float f; memcpy(&f, &u, 4); return f; }
static inline uint16_t down(float f) { uint32_t u; memcpy(&u, &f, 4); u += 0x7fff + ((u >> 16) & 1); return u >> 16; }

void gelu_forward(const uint16_t *restrict x, uint16_t *restrict y, long n) {
#pragma GCC ivdep
    for (long i = 0; i < n; i++) {
        float v = up(x[i]), u = v * (1.59576912161f + 0.0713548162726f * v * v);
        u = u < -80.f ? -80.f : u;
        y[i] = down(v / (1.f + expf(-u)));
    }
}

void gelu_backward(const uint16_t *restrict x, const uint16_t *restrict g, uint16_t *restrict d, long n) {
#pragma GCC ivdep
    for (long i = 0; i < n; i++) {
        float v = up(x[i]), v2 = v * v, u = v * (1.59576912161f + 0.0713548162726f * v2);
        u = u < -80.f ? -80.f : u;
        float s = 1.f / (1.f + expf(-u));
        d[i] = down(up(g[i]) * (s + s * (1.f - s) * v * (1.59576912161f + 0.2140644488f * v2)));
    }
}

/* Rows of at most 2048 values. */
void softmax_forward(const uint16_t *restrict x, uint16_t *restrict y, long rows, long n) {
    float t[2048];
    for (long r = 0; r < rows; r++) {
        const uint16_t *a = x + r * n;
        uint16_t *b = y + r * n;
        float m = -3e38f, s = 0;
        for (long i = 0; i < n; i++) { float v = up(a[i]); t[i] = v; m = v > m ? v : m; }
        for (long i = 0; i < n; i++) { float d = t[i] - m; d = d < -80.f ? -80.f : d; float e = expf(d); t[i] = e; s += e; }
        s = 1.f / s;
        for (long i = 0; i < n; i++) b[i] = down(t[i] * s);
    }
}

void softmax_backward(const uint16_t *restrict y, const uint16_t *restrict g, uint16_t *restrict d, long rows, long n) {
    for (long r = 0; r < rows; r++) {
        const uint16_t *a = y + r * n, *b = g + r * n;
        uint16_t *c = d + r * n;
        float s = 0;
        for (long i = 0; i < n; i++) s += up(a[i]) * up(b[i]);
        for (long i = 0; i < n; i++) c[i] = down((up(b[i]) - s) * up(a[i]));
    }
}
