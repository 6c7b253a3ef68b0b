#include "embedder/worker_main.h"

#include <filesystem>
#include <iostream>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "embedder/worker_protocol.h"
#include "embedder/worker_server.h"
#include "embedder/worker_token.h"

namespace pith {
namespace {

struct Flags {
  std::string model;
  std::optional<int> fd;
  std::string listen;
  std::string token_file;
  std::string certificate_file;
  std::string key_file;
  std::string precision = "auto";
};

absl::StatusOr<TcpOptions> ReadTcpOptions(const Flags& flags) {
  TcpOptions options;
  const std::optional<HostPort> address = ParseHostPort(flags.listen);
  if (!address) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen ", flags.listen, ": not ADDRESS:PORT"));
  }
  options.address = *address;
  PITH_ASSIGN_OR_RETURN(options.access.token,
                        ReadWorkerToken(flags.token_file));
  if (!flags.certificate_file.empty()) {
    PITH_ASSIGN_OR_RETURN(options.certificate,
                          ReadFile(flags.certificate_file, kMaxPemBytes));
  }
  if (!flags.key_file.empty()) {
    PITH_ASSIGN_OR_RETURN(options.key,
                          ReadPrivateFile(flags.key_file, kMaxPemBytes));
  }
  PITH_RETURN_IF_ERROR(CheckTcpOptions(options));
  return options;
}

}  // namespace

int WorkerMain(int argc, char** argv, const std::string& description,
               absl::FunctionRef<void(CLI::App&)> add_flags,
               absl::FunctionRef<absl::StatusOr<LoadedEngine>(
                   const ModelSpec&, std::optional<Precision>)>
                   load) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;

  Flags flags;
  CLI::App app(description);
  app.add_option("--model", flags.model, "Model directory")->required();
  CLI::Option_group* const place = app.add_option_group("Where it serves");
  place->add_option("--fd", flags.fd, "Connected socket, as pithd passes it");
  CLI::Option* const listen = place->add_option(
      "--listen", flags.listen,
      "ADDRESS:PORT to serve several pithd on (--remote-worker), port 0: any. "
      "Only the loopback interface's needs neither token nor TLS");
  place->require_option(1);
  app.add_option("--token-file", flags.token_file,
                 "File with the token that callers need, mode 600 "
                 "[$PITH_WORKER_TOKEN]")
      ->needs(listen);
  app.add_option("--tls-cert", flags.certificate_file,
                 "PEM file of the certificate, with those between it and a "
                 "root")
      ->needs(listen);
  app.add_option("--tls-key", flags.key_file,
                 "PEM file of its private key, mode 600")
      ->needs(listen);
  app.add_option("--precision", flags.precision,
                 "Of weights and matrix products")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
  add_flags(app);
  CLI11_PARSE(app, argc, argv);

  const auto serve = [&]() -> absl::Status {
    const std::optional<Precision> precision = PrecisionNamed(flags.precision);
    if (flags.fd) {
      return ServeOnSocket(*flags.fd, [&]() -> absl::StatusOr<LoadedEngine> {
        PITH_ASSIGN_OR_RETURN(const ModelSpec spec, LoadModelSpec(flags.model));
        return load(spec, precision);
      });
    }
    PITH_ASSIGN_OR_RETURN(TcpOptions options, ReadTcpOptions(flags));
    PITH_ASSIGN_OR_RETURN(const ModelSpec spec, LoadModelSpec(flags.model));
    PITH_ASSIGN_OR_RETURN(options.access.fingerprint,
                          ModelFingerprint(spec, /*cache_file=*/""));
    return ServeOnTcp(options, [&] { return load(spec, precision); });
  };
  const absl::Status status = serve();
  if (!status.ok()) {
    std::cerr << std::filesystem::path(argv[0]).filename().string() << ": "
              << status.message() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace pith
