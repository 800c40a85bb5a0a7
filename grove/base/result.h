// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
//
// Errors that come from the user's input (a file, a flag, a request) travel as `Result<T>`; a mistake of our own is a
// GROVE_CHECK (base/check.h). The message is one sentence that names the file, tensor or flag and says what to do.
//
//   Result<Config> ReadConfig(const std::string& path) {
//     GROVE_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
//     if (text.empty()) return Error(ErrorCode::kCorrupt, path + " is empty; write it again");
//     ...
//   }
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace grove {

enum class ErrorCode {
  kCorrupt,          // bytes that are not what their format promises
  kInvalidArgument,  // a flag or value outside its range
  kIo,               // the operating system refused (permission, disk full)
  kNotFound,         // no such file, tensor or key
  kUnsupported,      // well formed, but a feature we do not have
};

class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  ErrorCode code_;
  std::string message_;
};

// A value or the error that prevented it. Reading the value of an error is a bug and throws std::bad_variant_access.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT(google-explicit-constructor): `return value;`
  Result(Error error) : state_(std::move(error)) {}  // NOLINT(google-explicit-constructor): `return Error(...)`

  bool ok() const { return std::holds_alternative<T>(state_); }
  const Error& error() const { return std::get<Error>(state_); }
  T& value() & { return std::get<T>(state_); }
  const T& value() const& { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

struct Ok {};
using Status = Result<Ok>;

}  // namespace grove

#define GROVE_CONCAT_INNER(a, b) a##b
#define GROVE_CONCAT(a, b) GROVE_CONCAT_INNER(a, b)

#define GROVE_RETURN_IF_ERROR(expression)                           \
  do {                                                              \
    auto grove_status = (expression);                               \
    if (!grove_status.ok()) return std::move(grove_status).error(); \
  } while (false)

#define GROVE_ASSIGN_OR_RETURN(declaration, expression) \
  GROVE_ASSIGN_OR_RETURN_INNER(GROVE_CONCAT(grove_result_, __LINE__), declaration, expression)
#define GROVE_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                         \
  if (!result.ok()) return std::move(result).error();                 \
  declaration = std::move(result).value()
