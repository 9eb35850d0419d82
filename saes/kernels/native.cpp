// The sparse sums of one training step, fused. Plain C interface, opened by native.py; every loop over rows or latents is
// an OpenMP loop whose result does not depend on which thread runs what (given their number). Arrays are row-major and
// contiguous. "Candidates" are kept as [row, stride] with a count a row; "firings" one after the other, row by row.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>
#include <omp.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

using std::int32_t;
using std::int64_t;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;

inline float from_bf16(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline uint16_t to_bf16(float value) {  // rounds to nearest, ties to even, as PyTorch does
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// A float as an integer of the same order, with its latent beside it: sorting these sorts by value, ties by latent.
inline uint64_t sortable(float value, int32_t latent) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return ((uint64_t)bits << 32) | (uint32_t)latent;
}

inline float value_of(uint64_t key) {
  uint32_t bits = (uint32_t)(key >> 32);
  bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Leaves the `keep` largest of `count` candidates, in no order; returns the smallest of them.
float leave_best(float* value, int32_t* latent, int count, int keep, std::vector<uint64_t>& room) {
  room.resize(count);
  for (int i = 0; i < count; i++) room[i] = sortable(value[i], latent[i]);
  std::nth_element(room.begin(), room.begin() + (keep - 1), room.end(), std::greater<uint64_t>());
  for (int i = 0; i < keep; i++) {
    value[i] = value_of(room[i]);
    latent[i] = (int32_t)(uint32_t)room[i];
  }
  return value_of(room[keep - 1]);
}

inline float dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; j++) sum += a[j] * b[j];
  return sum;
}

inline void fetch(const float* row, int64_t n) {
  for (int64_t j = 0; j < n; j += 16) __builtin_prefetch(row + j);
}

// to += sum of weight[p] * rows[which[p]] for p in [from, until), four at a time so that `to` is read less often.
inline void add_rows(float* __restrict to, const float* rows, const int32_t* which, const float* weight, int64_t from,
                     int64_t until, int64_t n) {
  int64_t p = from;
  for (; p + 4 <= until; p += 4) {
    const float *r0 = rows + which[p] * n, *r1 = rows + which[p + 1] * n, *r2 = rows + which[p + 2] * n,
                *r3 = rows + which[p + 3] * n;
    const float w0 = weight[p], w1 = weight[p + 1], w2 = weight[p + 2], w3 = weight[p + 3];
#pragma omp simd
    for (int64_t j = 0; j < n; j++) to[j] += w0 * r0[j] + w1 * r1[j] + w2 * r2[j] + w3 * r3[j];
  }
  for (; p < until; p++) {
    const float* r0 = rows + which[p] * n;
    const float w0 = weight[p];
#pragma omp simd
    for (int64_t j = 0; j < n; j++) to[j] += w0 * r0[j];
  }
}

}  // namespace

extern "C" {

// ---- candidates

// Adds to each row's candidates the latents first .. first+width-1 whose product + bias exceeds the row's floor by `level`
// (null: 0). A row that has gathered nearly `capacity` of them leaves its `keep` best and raises its floor to the smallest of those.
// `stride` is at least capacity + 64, and `keep` at most capacity - 64.
void gather_candidates(const void* products, int is_bf16, int64_t leading, const float* bias, const float* level,
                       int64_t rows, int64_t width, int64_t first, int keep, int capacity, int64_t stride, float* value,
                       int32_t* latent, int32_t* count, float* floor) {
#pragma omp parallel
  {
    std::vector<uint64_t> room;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
      float* v = value + row * stride;
      int32_t* l = latent + row * stride;
      int m = count[row];
      float least = floor[row];
      const float* b = bias + first;
      const float* lev = level ? level + first : nullptr;
      int64_t j = 0;
#ifdef __AVX512F__
      const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      __m512 floors = _mm512_set1_ps(least);
      for (; j + 64 <= width; j += 64) {
        __m512 sum[4];
        __mmask16 above[4];
        for (int u = 0; u < 4; u++) {
          const int64_t at = j + 16 * u;
          __m512 product =
              is_bf16 ? _mm512_castsi512_ps(_mm512_slli_epi32(
                            _mm512_cvtepu16_epi32(_mm256_loadu_si256(
                                (const __m256i*)((const uint16_t*)products + row * leading + at))),
                            16))
                      : _mm512_loadu_ps((const float*)products + row * leading + at);
          sum[u] = _mm512_add_ps(product, _mm512_loadu_ps(b + at));
          __m512 over = lev ? _mm512_sub_ps(sum[u], _mm512_loadu_ps(lev + at)) : sum[u];
          above[u] = _mm512_cmp_ps_mask(over, floors, _CMP_GT_OQ);
        }
        if (above[0] | above[1] | above[2] | above[3]) {
          for (int u = 0; u < 4; u++)
            if (above[u]) {
              _mm512_storeu_ps(v + m, _mm512_maskz_compress_ps(above[u], sum[u]));
              const __m512i ids = _mm512_add_epi32(lane, _mm512_set1_epi32((int)(first + j + 16 * u)));
              _mm512_storeu_si512(l + m, _mm512_maskz_compress_epi32(above[u], ids));
              m += __builtin_popcount(above[u]);
            }
          if (m > capacity - 64) {
            least = leave_best(v, l, m, keep, room);
            m = keep;
            floors = _mm512_set1_ps(least);
          }
        }
      }
#endif
      for (; j < width; j++) {
        const float product = is_bf16 ? from_bf16(((const uint16_t*)products)[row * leading + j])
                                      : ((const float*)products)[row * leading + j];
        const float sum = product + b[j];
        if (sum - (lev ? lev[j] : 0.f) > least) {
          v[m] = sum;
          l[m++] = (int32_t)(first + j);
          if (m > capacity - 64) {
            least = leave_best(v, l, m, keep, room);
            m = keep;
          }
        }
      }
      count[row] = m;
      floor[row] = least;
    }
  }
}

// Leaves at most the `keep` largest candidates of each row.
void keep_best(int64_t rows, int keep, int64_t stride, float* value, int32_t* latent, int32_t* count) {
#pragma omp parallel
  {
    std::vector<uint64_t> room;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++)
      if (count[row] > keep) {
        leave_best(value + row * stride, latent + row * stride, count[row], keep, room);
        count[row] = keep;
      }
  }
}

// The n-th largest of all candidates; -infinity where there are fewer than n + 1, so that a cut there keeps all.
float nth_largest(int64_t rows, int64_t stride, const float* value, const int32_t* count, int64_t n) {
  std::vector<float> all;
  for (int64_t row = 0; row < rows; row++) all.insert(all.end(), value + row * stride, value + row * stride + count[row]);
  if ((int64_t)all.size() <= n) return -INFINITY;
  std::nth_element(all.begin(), all.begin() + (n - 1), all.end(), std::greater<float>());
  return all[n - 1];
}

// Drops the candidates below `least`.
void cut(int64_t rows, float least, int64_t stride, float* value, int32_t* latent, int32_t* count) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    float* v = value + row * stride;
    int32_t* l = latent + row * stride;
    int m = 0;
    for (int i = 0; i < count[row]; i++)
      if (v[i] >= least) {
        v[m] = v[i];
        l[m++] = l[i];
      }
    count[row] = m;
  }
}

// Replaces each candidate's value by the float32 product x[row] . W[latent] + bias[latent].
void score_exactly(int64_t rows, int64_t d, const float* x, const float* W, const float* bias, int64_t stride,
                   float* value, const int32_t* latent, const int32_t* count) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const int32_t* l = latent + row * stride;
    float* v = value + row * stride;
    const int m = count[row];
    for (int i = 0; i < m; i++) {
      if (i + 2 < m) fetch(W + l[i + 2] * d, d);
      v[i] = dot(x + row * d, W + l[i] * d, d) + bias[l[i]];
    }
  }
}

// Candidates -> firings: start[row] .. start[row+1] are the row's. `start` is given (the running sum of the counts).
void pack(int64_t rows, int64_t stride, const float* value, const int32_t* latent, const int32_t* count,
          const int64_t* start, float* packed_value, int32_t* packed_latent) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    std::memcpy(packed_value + start[row], value + row * stride, 4 * count[row]);
    std::memcpy(packed_latent + start[row], latent + row * stride, 4 * count[row]);
  }
}

// ---- rows

// Decodes every row and differentiates the squared error. Latents below bounds[g+1] belong to prefix g; prefix g's error is
// base + sum of value * W_dec over the latents of prefixes 0 .. g, less the target. What comes out:
//   squared[g, row]   each prefix's squared error
//   grad[g, row, d]   scale * (sum of the errors of prefixes g .. last): the gradient of whatever prefix g's latents write
//   slope[firing]     grad[g of the latent, row] . W_dec[latent]: the gradient of the firing's value
// base is [row, d] (base_stride d) or one vector for all (base_stride 0).
void decode_rows(int64_t rows, int64_t d, int prefixes, const int32_t* bounds, const float* target, const float* base,
                 int64_t base_stride, const float* W_dec, const int64_t* start, const int32_t* latent,
                 const float* value, float scale, float* grad, float* squared, float* slope) {
#pragma omp parallel
  {
    std::vector<int32_t> ids;
    std::vector<float> weights;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
      const int64_t from = start[row], until = start[row + 1];
      const float* before = base + row * base_stride;
      for (int g = 0; g < prefixes; g++) {
        float* error = grad + (g * rows + row) * d;
        if (g == 0) {
          const float* x = target + row * d;
#pragma omp simd
          for (int64_t j = 0; j < d; j++) error[j] = before[j] - x[j];
        } else {
          std::memcpy(error, grad + ((g - 1) * rows + row) * d, 4 * d);
        }
        if (prefixes == 1) {
          add_rows(error, W_dec, latent, value, from, until, d);
        } else {
          ids.clear();
          weights.clear();
          for (int64_t p = from; p < until; p++)
            if (latent[p] >= bounds[g] && latent[p] < bounds[g + 1]) {
              ids.push_back(latent[p]);
              weights.push_back(value[p]);
            }
          add_rows(error, W_dec, ids.data(), weights.data(), 0, (int64_t)ids.size(), d);
        }
        squared[g * rows + row] = dot(error, error, d);
      }
      for (int g = prefixes - 1; g >= 0; g--) {
        float* error = grad + (g * rows + row) * d;
        const float* later = g + 1 < prefixes ? grad + ((g + 1) * rows + row) * d : nullptr;
        if (later) {
#pragma omp simd
          for (int64_t j = 0; j < d; j++) error[j] = error[j] * scale + later[j];
        } else {
#pragma omp simd
          for (int64_t j = 0; j < d; j++) error[j] *= scale;
        }
      }
      for (int64_t p = from; p < until; p++) {
        int g = 0;
        while (g + 1 < prefixes && latent[p] >= bounds[g + 1]) g++;
        slope[p] = dot(grad + (g * rows + row) * d, W_dec + latent[p] * d, d);
      }
    }
  }
}

// ---- latents

// Firings sorted by latent (a counting sort): ptr[latent] .. ptr[latent+1] are the latent's, each with its row, the weight of
// the row's error in the decoder's gradient (the value) and that of the row's input in the encoder's (the slope of the
// pre-activation). Firings in which both are zero are left out.
void sort_by_latent(int64_t rows, int64_t d_sae, const int64_t* start, const int32_t* latent, const float* value,
                    const float* slope, int64_t* ptr, int32_t* row_of, float* value_of_firing, float* slope_of_firing) {
  std::memset(ptr, 0, 8 * (d_sae + 1));
  const int64_t n = start[rows];
  for (int64_t p = 0; p < n; p++)
    if (value[p] != 0 || slope[p] != 0) ptr[latent[p] + 1]++;
  for (int64_t i = 0; i < d_sae; i++) ptr[i + 1] += ptr[i];
  std::vector<int64_t> next(ptr, ptr + d_sae);
  for (int64_t row = 0; row < rows; row++)
    for (int64_t p = start[row]; p < start[row + 1]; p++)
      if (value[p] != 0 || slope[p] != 0) {
        const int64_t to = next[latent[p]]++;
        row_of[to] = (int32_t)row;
        value_of_firing[to] = value[p];
        slope_of_firing[to] = slope[p];
      }
}

struct Firings {  // sorted by latent, with what their rows' errors became
  const int64_t* ptr;     // [d_sae + 1]; null: there are none
  const int32_t* row_of;  // [firing]
  const float* value;     // [firing]
  const float* slope;     // [firing]
  const float* grad;      // [prefix, row, d_out]
  int64_t rows;
};

struct Gradients {  // what both passes over the latents read
  int64_t d_sae, d_in, d_out, prefixes, slopes_reach_bias;  // the last: 1 where the bias has the pre-activation's gradient
  const int32_t* bounds;  // [prefixes + 1]
  const float* x_in;      // [row, d_in]
  Firings fit, rescue;    // the rescue reads the first rows of x_in and knows one prefix
  float* kept;            // [d_sae, d_in + d_out] where the first pass leaves the gradients for the second; null: made twice
};

static bool fires(const Gradients& g, int64_t latent) {
  return g.fit.ptr[latent] != g.fit.ptr[latent + 1] ||
         (g.rescue.ptr && g.rescue.ptr[latent] != g.rescue.ptr[latent + 1]);
}

static bool latent_gradient(const Gradients& g, int64_t latent, int& prefix, float* encoder, float* decoder, float& bias) {
  const Firings &fit = g.fit, &rescue = g.rescue;
  const int64_t from = fit.ptr[latent], until = fit.ptr[latent + 1];
  const int64_t more_from = rescue.ptr ? rescue.ptr[latent] : 0, more_until = rescue.ptr ? rescue.ptr[latent + 1] : 0;
  if (!fires(g, latent)) return false;
  while (prefix + 1 < g.prefixes && latent >= g.bounds[prefix + 1]) prefix++;
  std::memset(encoder, 0, 4 * g.d_in);
  std::memset(decoder, 0, 4 * g.d_out);
  add_rows(decoder, fit.grad + prefix * fit.rows * g.d_out, fit.row_of, fit.value, from, until, g.d_out);
  add_rows(encoder, g.x_in, fit.row_of, fit.slope, from, until, g.d_in);
  bias = 0;
  for (int64_t p = from; p < until; p++) bias += fit.slope[p];
  if (more_until > more_from) {
    add_rows(decoder, rescue.grad, rescue.row_of, rescue.value, more_from, more_until, g.d_out);
    add_rows(encoder, g.x_in, rescue.row_of, rescue.slope, more_from, more_until, g.d_in);
    for (int64_t p = more_from; p < more_until; p++) bias += rescue.slope[p];
  }
  return true;
}

// The squared length of all latents' gradients (which are kept where there is room), and input_grad += sum of bias gradient * W_enc[latent].
double gradient_size(const Gradients* gradients, const float* W_enc, float* bias_grad, float* input_grad) {
  const Gradients& g = *gradients;
  const int threads = omp_get_max_threads();
  std::vector<double> size(threads, 0.0);
  std::vector<float> input(threads * g.d_in, 0.f);
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> room(g.d_in + g.d_out);
    const int me = omp_get_thread_num();
    float* mine = input.data() + me * g.d_in;
    int prefix = 0;
#pragma omp for schedule(static, 16)
    for (int64_t i = 0; i < g.d_sae; i++) {
      float bias = 0;
      float* encoder = g.kept ? g.kept + i * (g.d_in + g.d_out) : room.data();
      float* decoder = encoder + g.d_in;
      if (latent_gradient(g, i, prefix, encoder, decoder, bias)) {
        size[me] += (double)dot(encoder, encoder, g.d_in) + dot(decoder, decoder, g.d_out);
        if (g.slopes_reach_bias) size[me] += (double)bias * bias;
        const float* W = W_enc + i * g.d_in;
#pragma omp simd
        for (int64_t j = 0; j < g.d_in; j++) mine[j] += bias * W[j];
      }
      bias_grad[i] = bias;
    }
  }
  double total = 0;
  for (int t = 0; t < threads; t++) {
    total += size[t];
    for (int64_t j = 0; j < g.d_in; j++) input_grad[j] += input[t * g.d_in + j];
  }
  return total;
}

struct Moments {  // Adam's state of one matrix or vector
  float *weight, *first, *second;
};

struct Adam {
  float lr, beta1, beta2, eps, correction1, correction2;  // corrections: 1 - beta^step
  int64_t step;                                           // counted from 1
  int64_t* last;        // [d_sae] the step at which a latent's row last moved
  const float* missed;  // [step] what a row that last moved at that step would have gone since, in units of m / sqrt(v)
};

}  // extern "C"

namespace {

// One row through Adam. `skipped` steps without a gradient come first: the moments decay as if they had been taken, and the
// row goes the way that its momentum would have carried it.
inline void adam_row(const Moments& moments, int64_t at, int64_t n, const float* gradient, float scale, const Adam& adam,
                     int64_t skipped, float missed) {
  float *w = moments.weight + at, *m = moments.first + at, *v = moments.second + at;
  if (skipped > 0) {
    const float decay1 = std::pow(adam.beta1, (float)skipped), decay2 = std::pow(adam.beta2, (float)skipped);
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
      w[j] -= missed * m[j] / (std::sqrt(v[j]) + 1e-20f);
      m[j] *= decay1;
      v[j] *= decay2;
    }
  }
  const float b1 = adam.beta1, b2 = adam.beta2, rate = adam.lr / adam.correction1,
              unbias = 1.f / std::sqrt(adam.correction2), eps = adam.eps;
#pragma omp simd
  for (int64_t j = 0; j < n; j++) {
    const float g = gradient[j] * scale;
    m[j] = b1 * m[j] + (1 - b1) * g;
    v[j] = b2 * v[j] + (1 - b2) * g * g;
    w[j] -= rate * m[j] / (std::sqrt(v[j]) * unbias + eps);
  }
}

inline float length(const float* w, int64_t n) { return std::sqrt(dot(w, w, n)); }

inline void unit_length(float* w, int64_t n) {
  const float inverse = 1.f / std::max(length(w, n), 1e-12f);
#pragma omp simd
  for (int64_t j = 0; j < n; j++) w[j] *= inverse;
}

inline void round_row(const float* w, uint16_t* to, int64_t n) {
  if (!to) return;
#pragma omp simd
  for (int64_t j = 0; j < n; j++) to[j] = to_bf16(w[j]);
}

}  // namespace

extern "C" {

// The length of every row.
void row_lengths(int64_t rows, int64_t d, const float* W, float* lengths) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++) lengths[i] = length(W + i * d, d);
}

// One pass over the latents that have a gradient: both weight gradients, times `scale`; the decoder's without its part along
// the row; Adam; the decoder row back to length one; the encoder row's bfloat16 copy and its length (null: not wanted). Kept gradients are used up, and
// bias_grad is then what the first pass left in it. input_grad (null: not wanted) gets the
// sum of bias gradient * W_enc[latent], unscaled.
void update_latents(const Gradients* gradients, const Adam* adam_, float scale, const Moments* enc, const Moments* dec,
                    const Moments* bias_, uint16_t* rounded, float* lengths, float* bias_grad, float* input_grad) {
  const Gradients& g = *gradients;
  const Adam& adam = *adam_;
  const int threads = omp_get_max_threads();
  std::vector<float> input(threads * g.d_in, 0.f);
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> room(g.d_in + g.d_out);
    float* mine = input.data() + omp_get_thread_num() * g.d_in;
    int prefix = 0;
#pragma omp for schedule(static, 16)
    for (int64_t i = 0; i < g.d_sae; i++) {
      float bias = g.kept ? bias_grad[i] : 0;
      float* encoder = g.kept ? g.kept + i * (g.d_in + g.d_out) : room.data();
      float* decoder = encoder + g.d_in;
      if (g.kept ? !fires(g, i) : !latent_gradient(g, i, prefix, encoder, decoder, bias)) {
        bias_grad[i] = 0;
        continue;
      }
      bias_grad[i] = bias;
      const int64_t at_in = i * g.d_in, at_out = i * g.d_out, skipped = adam.step - 1 - adam.last[i];
      const float missed = skipped > 0 ? adam.missed[adam.last[i]] : 0.f;
      adam.last[i] = adam.step;
      if (input_grad) {
        const float* W = enc->weight + at_in;
#pragma omp simd
        for (int64_t j = 0; j < g.d_in; j++) mine[j] += bias * W[j];
      }
      const float along = dot(decoder, dec->weight + at_out, g.d_out);
      const float* W = dec->weight + at_out;
#pragma omp simd
      for (int64_t j = 0; j < g.d_out; j++) decoder[j] -= along * W[j];
      adam_row(*dec, at_out, g.d_out, decoder, scale, adam, skipped, missed);
      unit_length(dec->weight + at_out, g.d_out);
      adam_row(*enc, at_in, g.d_in, encoder, scale, adam, skipped, missed);
      round_row(enc->weight + at_in, rounded ? rounded + at_in : nullptr, g.d_in);
      if (lengths) lengths[i] = length(enc->weight + at_in, g.d_in);
      if (g.slopes_reach_bias) adam_row(*bias_, i, 1, &bias, scale, adam, skipped, missed);
    }
  }
  if (input_grad)
    for (int t = 0; t < threads; t++)
      for (int64_t j = 0; j < g.d_in; j++) input_grad[j] += input[t * g.d_in + j];
}

// Brings the rows that stood still up to step adam.step, as dense Adam would have moved them without a gradient.
void catch_up(int64_t d_sae, int64_t d_in, int64_t d_out, const Adam* adam_, const Moments* enc, const Moments* dec,
              const Moments* bias, uint16_t* rounded, float* lengths) {
  const Adam& adam = *adam_;
#pragma omp parallel for schedule(static, 16)
  for (int64_t i = 0; i < d_sae; i++) {
    const int64_t skipped = adam.step - adam.last[i];
    if (skipped <= 0) continue;
    const float missed = adam.missed[adam.last[i]];
    const float decay1 = std::pow(adam.beta1, (float)skipped), decay2 = std::pow(adam.beta2, (float)skipped);
    const Moments* all[3] = {enc, dec, bias};
    const int64_t width[3] = {d_in, d_out, 1};
    for (int which = 0; which < 3; which++) {
      if (!all[which]->weight) continue;
      const int64_t n = width[which];
      float *w = all[which]->weight + i * n, *m = all[which]->first + i * n, *v = all[which]->second + i * n;
#pragma omp simd
      for (int64_t j = 0; j < n; j++) {
        w[j] -= missed * m[j] / (std::sqrt(v[j]) + 1e-20f);
        m[j] *= decay1;
        v[j] *= decay2;
      }
    }
    unit_length(dec->weight + i * d_out, d_out);
    round_row(enc->weight + i * d_in, rounded ? rounded + i * d_in : nullptr, d_in);
    if (lengths) lengths[i] = length(enc->weight + i * d_in, d_in);
    adam.last[i] = adam.step;
  }
}

}  // extern "C"
