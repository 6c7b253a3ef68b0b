// A pithd with nothing in it: owns its data directory and answers its health
// check and GetStatus until SIGTERM, so that what starts and stops daemons can
// be tested.

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

#include "core/base/file.h"
#include "proto/pith/v1/admin.grpc.pb.h"

namespace pith {
namespace {

class FakeAdminService : public v1::AdminService::Service {
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* response) override {
    response->set_pid(::getpid());
    return grpc::Status::OK;
  }
};

int Main(int argc, char** argv) {
  if (argc < 5 || std::string(argv[1]) != "--data-dir" ||
      std::string(argv[3]) != "--socket") {
    std::cerr << "usage: pithd --data-dir DIR --socket SOCK\n";
    return 2;
  }
  for (int i = 5; i < argc; ++i) {
    std::cerr << "argument " << argv[i] << std::endl;
  }
  const std::filesystem::path data_directory = argv[2];
  const std::filesystem::path socket = argv[4];
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto lock = FileLock::Acquire(data_directory / "pithd.lock");
  if (!lock.ok()) {
    std::cerr << lock.status() << "\n";
    return 3;
  }
  if (!CreatePrivateDirectories(socket.parent_path()).ok()) {
    return 2;
  }
  grpc::EnableDefaultHealthCheckService(true);
  FakeAdminService admin;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("unix:", socket.string()),
                           grpc::InsecureServerCredentials());
  builder.RegisterService(&admin);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    return 2;
  }
  int signal = 0;
  ::sigwait(&signals, &signal);
  server->Shutdown();
  return 0;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
