// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// A callable that is called while the one it was made from still lives: what a loop takes as its body. Two words, no
// allocation, where std::function copies a large lambda to the heap.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace grove {

template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
                                              std::is_invocable_r_v<R, F&, Args...>>>
  FunctionRef(F&& callable)  // NOLINT(google-explicit-constructor): lambdas are passed as arguments
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace grove
