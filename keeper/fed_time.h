#pragma once
// What a network's time embedding is fed. Ours get time_scale t; others were trained with time running the other way,
// or shifted. The embedding is cat[cos(f s), sin(f s)] of what is fed, s, so another s = a + b t is a rotation of ours
// at b t, which the first linear layer takes up: exact but for rounding.

#include <ATen/core/Tensor.h>

#include <string>

namespace cfm::keeper {

// `weight` (time_embed.0.weight, [4C,C]) of a network that is fed time_scale t + shift, or time_scale (1 - t) + shift
// if `reversed`, as that of one that is fed time_scale t. float32.
at::Tensor fed_by_t(const at::Tensor& weight, double time_scale, bool reversed, double shift);

// "1000 (1 - t) - 1"
std::string fed_time_text(double time_scale, bool reversed, double shift);

}  // namespace cfm::keeper
