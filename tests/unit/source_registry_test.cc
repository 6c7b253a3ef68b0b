#include "server/source_registry.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/forwarding_passage_store.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/fakes/in_memory_passage_store.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class OneModel : public ModelProvider {
 public:
  absl::StatusOr<Embedder*> Open(std::string_view /*name*/) override {
    return &embedder_;
  }
  absl::StatusOr<ModelDescription> Describe(
      std::string_view /*name*/) override {
    return absl::UnimplementedError("describe");
  }
  std::vector<ModelDescription> List() override { return {}; }
  std::vector<WorkerDescription> Workers() override { return {}; }
  std::vector<QueueDescription> Queues() override { return {}; }

 private:
  HashEmbedder embedder_;
};

// What goes wrong with the stores of all collections.
struct Trouble {
  std::atomic<bool> sources_fail = false;
  // The lists of documents wait while it is set.
  std::atomic<bool> lists_wait = false;
  std::atomic<int> lists_waiting = 0;
};

class TroubledStore : public ForwardingPassageStore {
 public:
  explicit TroubledStore(Trouble& trouble)
      : ForwardingPassageStore(std::make_shared<InMemoryPassageStore>()),
        trouble_(trouble) {}

  absl::StatusOr<std::optional<std::string>> GetSources() const override {
    if (trouble_.sources_fail) {
      return absl::InternalError("read error");
    }
    return ForwardingPassageStore::GetSources();
  }
  absl::StatusOr<std::vector<DocumentSummary>> ListDocuments(
      std::string_view prefix, std::optional<std::string_view> after,
      size_t limit) const override {
    ++trouble_.lists_waiting;
    while (trouble_.lists_wait) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    --trouble_.lists_waiting;
    return ForwardingPassageStore::ListDocuments(prefix, after, limit);
  }

 private:
  Trouble& trouble_;
};

class SourceRegistryTest : public testing::Test {
 protected:
  SourceRegistryTest() {
    fs::create_directory(temp_.path() / "collections");
    const StoreBackend backend = {
        .create = [this](const fs::path& /*directory*/,
                         std::string_view configuration)
            -> absl::StatusOr<StoreBackend::OpenStore> {
          // Each collection has its own.
          troubles_.push_back(std::make_unique<Trouble>());
          return StoreBackend::OpenStore{
              .configuration = std::string(configuration),
              .store = std::make_unique<TroubledStore>(*troubles_.back())};
        },
        .open = nullptr};
    auto collections = CollectionRegistry::Open(temp_.path() / "collections",
                                                backend, models_, cache_, {});
    CHECK(collections.ok()) << collections.status();
    collections_ = *std::move(collections);
    Start();
  }

  // Again, as another daemon does.
  void Start() {
    sources_.reset();
    sources_ = std::make_unique<SourceRegistry>(
        *collections_,
        SourceRegistry::Options{.reconcile_interval = absl::Hours(24)});
  }

  std::shared_ptr<CollectionRegistry::Handle> Create(const std::string& name) {
    NewCollection request;
    request.name = name;
    auto handle = collections_->Create(request);
    CHECK(handle.ok()) << handle.status();
    return *std::move(handle);
  }

  fs::path Folder(const std::string& name) const {
    fs::create_directory(temp_.path() / name);
    return temp_.path() / name;
  }

  std::vector<SourceStatus> List(const std::string& collection) {
    auto list = sources_->List(collection, 100);
    CHECK(list.ok()) << list.status();
    return *std::move(list);
  }
  std::vector<std::string> Paths(const std::string& collection) {
    std::vector<std::string> paths;
    for (const SourceStatus& source : List(collection)) {
      paths.push_back(source.path);
    }
    return paths;
  }

  const TempDirectory temp_;
  OneModel models_;
  VectorCache cache_{size_t{1} << 20};
  std::vector<std::unique_ptr<Trouble>> troubles_;
  std::unique_ptr<CollectionRegistry> collections_;
  std::unique_ptr<SourceRegistry> sources_;
};

TEST_F(SourceRegistryTest, AListThatCannotBeReadIsNotReplaced) {
  const fs::path a = Folder("a");
  const fs::path b = Folder("b");
  Create("c");
  ASSERT_OK(sources_->Watch("c", a));
  troubles_[0]->sources_fail = true;
  Start();
  EXPECT_THAT(Paths("c"), ElementsAre());
  EXPECT_THAT(sources_->Watch("c", b),
              StatusIs(absl::StatusCode::kInternal, "read error"));
  EXPECT_THAT(sources_->Unwatch("c", a),
              StatusIs(absl::StatusCode::kInternal, "read error"));
  troubles_[0]->sources_fail = false;
  ASSERT_OK(sources_->Watch("c", b));
  EXPECT_THAT(Paths("c"), ElementsAre(a.string(), b.string()));
  Start();
  EXPECT_THAT(Paths("c"), ElementsAre(a.string(), b.string()));
}

TEST_F(SourceRegistryTest, AScanThatOutlivesItsSourceLeavesOthersTheirWatches) {
  const fs::path folder = Folder("folder");
  const auto first = Create("first");
  const auto second = Create("second");
  ASSERT_OK(sources_->Watch("first", folder));
  ASSERT_OK(sources_->Watch("second", folder));
  troubles_[0]->lists_wait = true;
  std::thread scan([&] {
    Operation operation("op", DescribeAdd("first", folder.string()));
    // Cancelled, unless it is past its files.
    (void)sources_->Scan(*first, folder, operation);
  });
  EXPECT_TRUE(Eventually([&] { return troubles_[0]->lists_waiting > 0; }));
  ASSERT_OK(sources_->Unwatch("first", folder));
  // It takes the watches back.
  EXPECT_TRUE(Eventually([&] {
    const std::vector<SourceStatus> list = List("second");
    return list[0].last_reconcile && !list[0].scanning;
  }));
  std::ofstream(folder / "empty");
  // Hints of it, and not of the end of the scan.
  EXPECT_TRUE(Eventually([&] { return List("second")[0].seen == 1; }));
  troubles_[0]->lists_wait = false;
  scan.join();
  EXPECT_TRUE(
      Eventually([&] { return List("second")[0].pending_changes == 0; }));
  std::ofstream(folder / "file") << "text";
  EXPECT_TRUE(Eventually([&] {
    const auto document = second->collection().Get((folder / "file").string());
    return document.ok() && document->has_value();
  }));
}

}  // namespace
}  // namespace pith
