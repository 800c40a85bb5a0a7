// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// GELU for values that are rounded to bf16 or to 127 steps afterwards: x (1/2 + z P(u)) with z = x cut to [-end, end]
// and u = 2 (z / end)^2 - 1, where P makes it 0 at -end and x at end. Within kRoundedGeluError of x Phi(x) for every x,
// a hundredth of what bf16 makes of a value near 1, at a third of the exact form's time: no division, no exp. Least
// squares with weights that even out the error. gelu-inl.h has it in vectors.
#pragma once

namespace grove {

inline constexpr float kRoundedGeluEnd = 4.5f;
inline constexpr float kRoundedGeluTerms[] = {-0.000940831727f, 0.00422242284f, -0.00779748335f, 0.0108318683f,
                                              -0.0175148174f,   0.0282896087f,  -0.0404290855f,  0.0547214448f,
                                              -0.0771762356f,   0.156904221f};  // the highest power first
inline constexpr double kRoundedGeluError = 1.6e-5;

}  // namespace grove
