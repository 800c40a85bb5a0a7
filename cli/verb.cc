// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 The Grove Authors.
#include "cli/verb.h"

#include <fmt/format.h>
#include <fmt/ranges.h>  // join
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <new>
#include <numeric>
#include <span>
#include <string_view>

#include "grove/base/thread_pool.h"
#include "grove/io/files.h"
#include "grove/kernels/target.h"

namespace grove::cli {
namespace {

// Ctrl-C and termination: nothing half-written stays, one word, and the exit code that shells expect.
void Stop(int signal) {
  RemoveTemporaryFiles();
  static constexpr char kWord[] = "\nstopped; no unfinished file is left\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kWord, sizeof(kWord) - 1);
  _exit(128 + signal);
}

// The one place that writes an error: a single line, whatever the message holds.
void PrintError(const std::string& who, std::string message) {
  std::replace_if(
      message.begin(), message.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  while (!message.empty() && message.back() == ' ') message.pop_back();
  fmt::print(stderr, "{}: {}\n", who, message);
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substitute = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substitute, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string Suggestion(const std::string& word, const std::vector<std::string>& names) {
  const auto closest = std::min_element(names.begin(), names.end(), [&](const auto& a, const auto& b) {
    return EditDistance(word, a) < EditDistance(word, b);
  });
  if (EditDistance(word, *closest) <= 1 + word.size() / 3) return fmt::format("the closest is {}", *closest);
  return fmt::format("the verbs are {}", fmt::join(names, ", "));
}

std::vector<CLI::App*> VerbsOf(CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

CLI::App* FindVerb(CLI::App& app, const std::string& name) {
  const std::vector<CLI::App*> all = VerbsOf(app);
  const auto found = std::find_if(all.begin(), all.end(), [&](const CLI::App* sub) { return sub->get_name() == name; });
  return found == all.end() ? nullptr : *found;
}

// Names the verb that is missing or unknown in `words` below `app`; empty when there is none.
std::string VerbMistake(CLI::App& app, std::span<const std::string> words) {
  std::vector<std::string> names;
  for (const CLI::App* sub : VerbsOf(app)) names.push_back(sub->get_name());
  if (names.empty()) return "";
  if (words.empty()) return fmt::format("name a verb, one of {}", fmt::join(names, ", "));
  if (words[0].starts_with("-")) return "";
  CLI::App* next = FindVerb(app, words[0]);
  if (next == nullptr) return fmt::format("there is no verb {}; {}", words[0], Suggestion(words[0], names));
  return VerbMistake(*next, words.subspan(1));
}

// The CLI11 app of one program and what parsing fills in.
class Program {
 public:
  Program(std::string name, const std::string& purpose, const Verbs& verbs);
  int Run(int argc, char** argv);

 private:
  void AddVerb(Verb& verb);
  void AddCommonOptions(CLI::App& app);
  int UsageError(const std::string& who, const std::string& message) const;
  int RunVerb(Verb& verb);

  CLI::App app_;
  CommonOptions common_;
  std::map<const CLI::App*, Verb*> verbs_;
};

Program::Program(std::string name, const std::string& purpose, const Verbs& verbs) : app_(purpose, name) {
  common_.program = std::move(name);
  common_.threads = DefaultThreads();
  app_.set_help_flag("--help,-h", "Print this help and exit");
  app_.set_version_flag("--version", common_.program + " " GROVE_VERSION, "Print the version and exit");
  app_.require_subcommand(1);
  app_.footer("Each verb explains itself: " + common_.program + " VERB --help");
  for (const auto& verb : verbs) AddVerb(*verb);
}

void Program::AddVerb(Verb& verb) {
  std::string name = verb.info().name;
  CLI::App* parent = &app_;
  if (const size_t blank = name.find(' '); blank != std::string::npos) {
    const std::string group = name.substr(0, blank);
    name = name.substr(blank + 1);
    parent = FindVerb(app_, group);
    if (parent == nullptr) parent = app_.add_subcommand(group, "Verbs that measure");
    parent->require_subcommand(1);
  }
  CLI::App* app = parent->add_subcommand(name, verb.info().summary);
  std::string example = "\nExample:";
  for (size_t begin = 0; begin <= verb.info().example.size();) {
    const size_t end = std::min(verb.info().example.find('\n', begin), verb.info().example.size());
    example += "\n  " + verb.info().example.substr(begin, end - begin);
    begin = end + 1;
  }
  app->footer(example);
  verb.Declare(*app);
  AddCommonOptions(*app);
  verbs_[app] = &verb;
}

void Program::AddCommonOptions(CLI::App& app) {
  app.add_option("--threads", common_.threads, "Threads to use")
      ->check(CLI::Range(size_t{1}, size_t{1024}))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--target", common_.target, "Instruction set of the kernels, see grove info (default: the best one)")
      ->envname("GROVE_TARGET")
      ->type_name("NAME");
  app.add_flag("--json", common_.json, "Print the result as JSON");
}

int Program::UsageError(const std::string& who, const std::string& message) const {
  PrintError(who, fmt::format("{}; see {} --help", message, who));
  return kExitUsage;
}

int Program::Run(int argc, char** argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  if (const std::string mistake = VerbMistake(app_, words); !mistake.empty()) {
    return UsageError(common_.program, mistake);
  }
  std::string who = common_.program;
  try {
    app_.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app_.exit(success, std::cout, std::cerr);
  } catch (const CLI::ParseError& error) {
    for (CLI::App* app = &app_; !app->get_subcommands().empty();)
      who += " " + (app = app->get_subcommands()[0])->get_name();
    return UsageError(who, error.what());
  }
  const CLI::App* chosen = app_.get_subcommands()[0];
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands()[0];
  return RunVerb(*verbs_.at(chosen));
}

int Program::RunVerb(Verb& verb) {
  const std::string who = common_.program + " " + verb.info().name;
  if (const Status target = ForceTarget(common_.target); !target.ok()) {
    const char* variable = std::getenv("GROVE_TARGET");
    const bool of_variable = variable != nullptr && common_.target == variable;
    return UsageError(who, (of_variable ? "GROVE_TARGET: " : "") + target.error().message());
  }
  if (const Status check = verb.Check(); !check.ok()) return UsageError(who, check.error().message());
  const Status status = verb.Run(common_);
  if (!status.ok()) {
    PrintError(who, status.error().message());
    return kExitFailed;
  }
  return kExitOk;
}

}  // namespace

int Main(int argc, char** argv, const std::string& program, const std::string& purpose, const Verbs& verbs) {
  for (const int stop : {SIGINT, SIGTERM}) {
    if (std::signal(stop, Stop) == SIG_IGN) std::signal(stop, SIG_IGN);  // the parent wants it ignored
  }
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, reported below, instead of a silent death
  int code = kExitFailed;
  try {
    code = Program(program, purpose, verbs).Run(argc, argv);
  } catch (const std::bad_alloc&) {
    PrintError(program, "out of memory; give less input at once or use a machine with more");
  } catch (const std::exception& error) {
    PrintError(program, error.what());
  }
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) {
    if (code == kExitOk) PrintError(program, "the result could not be written to standard output");
    return code == kExitOk ? kExitFailed : code;
  }
  return code;
}

}  // namespace grove::cli
