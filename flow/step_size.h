#pragma once
// The step sizes of an adaptive method of order 5 with an error estimate of order 4, as torchdiffeq chooses them.
// [Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.4] Norms are root mean squares of
// value / (atol + rtol |x|); h > 0 whichever way the time runs.

namespace cfm::flow {

// By how much a step that was tried with `error` (its norm; taken if at most 1) is followed by a longer or a shorter
// one: safety 0.9, at most 10, at least 0.2, at least 1 after a step that was taken.
double step_factor(double error);

// The step that a first one is chosen by: from the norms of x and of dx/dt at the start.
double trial_step(double x_norm, double slope_norm);

// The first step: from the norm of dx/dt at the start, and of its change over the trial step divided by that.
double first_step(double trial, double slope_norm, double curvature_norm);

// The largest of the lengths 2^(k/4), k whole, that is no longer than h > 0. Where steps are such lengths, two
// solutions that differ in last bits alone take the same steps, but where one comes near the edge of a length.
double on_ladder(double h);

}  // namespace cfm::flow
