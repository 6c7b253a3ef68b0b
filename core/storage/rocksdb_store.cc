#include "core/storage/rocksdb_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "glog/logging.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/listener.h"
#include "rocksdb/options.h"
#include "rocksdb/table.h"
#include "rocksdb/table_properties.h"
#include "rocksdb/utilities/checkpoint.h"
#include "rocksdb/write_batch.h"
#include "rocksdb/write_buffer_manager.h"

#include "core/base/coding.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/storage/record_format.h"

namespace pith {
namespace fs = std::filesystem;

namespace {

constexpr uint32_t kFormatVersion = 5;
// The first with a column family for vectors.
constexpr uint32_t kVectorsVersion = 3;
constexpr char kFormatKey[] = "format";
constexpr char kConfigurationKey[] = "configuration";
constexpr char kCountsKey[] = "counts";
constexpr char kManifestKey[] = "manifest";
constexpr char kSourcesKey[] = "sources";

constexpr char kWitnessFile[] = "WITNESS";
constexpr uint64_t kMaxWitnessBytes = 256;

// Positions in kColumnNames and in Database::columns.
enum Column : size_t {
  kMeta,
  kDocuments,
  kIds,
  kPassages,
  kPending,
  kCodes,
  kVectors,
  kColumnCount,
};
constexpr std::array<const char*, kColumnCount> kColumnNames = {
    // RocksDB insists on a column family of this name.
    "default", "documents", "ids", "passages", "pending", "codes", "vectors"};

// Codes and vectors are as good as random, the others tiny.
bool IsCompressed(Column column) {
  return column == kDocuments || column == kIds || column == kPassages;
}

absl::Status FromRocksDb(const rocksdb::Status& status,
                         std::string_view action) {
  if (status.ok()) {
    return absl::OkStatus();
  }
  const std::string message =
      absl::StrCat(AbslView(action), ": ", status.ToString());
  if (status.IsCorruption() || status.IsPathNotFound()) {
    // A path that is not found is a file that the manifest names.
    return absl::DataLossError(message);
  }
  if (status.IsNoSpace() || status.IsMemoryLimit() ||
      status.subcode() == rocksdb::Status::kSpaceLimit) {
    return absl::ResourceExhaustedError(message);
  }
  if (status.IsManualCompactionPaused()) {
    return absl::CancelledError(message);
  }
  if (status.IsBusy() || status.IsTryAgain() || status.IsTimedOut()) {
    return absl::UnavailableError(message);
  }
  return absl::InternalError(message);
}

// As FromRocksDb, for opening, where a lock that is taken is an I/O error
// without a code of its own.
absl::Status FromOpening(const rocksdb::Status& status,
                         std::string_view action) {
  if (status.IsIOError() && absl::StrContains(status.ToString(), "/LOCK:")) {
    return absl::FailedPreconditionError(
        absl::StrCat(AbslView(action), ": already open: ", status.ToString()));
  }
  return FromRocksDb(status, action);
}

rocksdb::Slice ToSlice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}

std::string_view ToView(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

// For reads of many keys in order, once.
rocksdb::ReadOptions ScanOptions() {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = size_t{1} << 20;
  return options;
}

absl::Status Rename(const fs::path& from, const fs::path& to,
                    rocksdb::Env& env) {
  const std::string action = absl::StrCat("rename ", from.string());
  PITH_RETURN_IF_ERROR(
      FromRocksDb(env.RenameFile(from.string(), to.string()), action));
  std::unique_ptr<rocksdb::Directory> parent;
  PITH_RETURN_IF_ERROR(FromRocksDb(
      env.NewDirectory(to.has_parent_path() ? to.parent_path().string() : ".",
                       &parent),
      action));
  return FromRocksDb(parent->Fsync(), action);
}

// For stores that are only read: no file of RocksDB's own messages.
class NoLog : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

// A Commit that finds the store stopped resumes it.
class RecoveryByCommit : public rocksdb::EventListener {
 public:
  // RocksDB takes I/O errors other than a full disk for fatal, and resumes
  // from none of those. What it does to resume is sound for them too: it
  // writes what is in memory to new files and drops the ones that failed.
  void OnBackgroundError(rocksdb::BackgroundErrorReason /*reason*/,
                         rocksdb::Status* error) override {
    if (error->IsIOError() && !error->IsIOFenced() &&
        error->severity() == rocksdb::Status::Severity::kFatalError) {
      *error = rocksdb::Status(*error, rocksdb::Status::Severity::kHardError);
    }
  }

  // RocksDB's own recovery from a full disk polls.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/,
                            rocksdb::Status /*error*/,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

}  // namespace

struct RocksDbShared::State {
  // Owns the environment of a file system that was given.
  std::unique_ptr<rocksdb::Env> own_env;
  rocksdb::Env* env = nullptr;
  std::shared_ptr<rocksdb::Cache> block_cache;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers;
  int background_threads = 1;

  rocksdb::DBOptions DatabaseOptions() const {
    rocksdb::DBOptions options;
    options.env = env;
    options.write_buffer_manager = write_buffers;
    options.max_background_jobs = background_threads + 1;
    options.listeners = {std::make_shared<RecoveryByCommit>()};
    options.paranoid_checks = true;
    // Damage in the middle of a log is an error; a record that a crash cut off
    // at its end was never acknowledged.
    options.wal_recovery_mode =
        rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
    // One busy column family must not keep the others' logs for long.
    options.max_total_wal_size = uint64_t{32} << 20;
    // A log preallocates as much as a write buffer and more, for each store.
    options.allow_fallocate = false;
    options.max_manifest_file_size = uint64_t{1} << 20;
    options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
    options.max_log_file_size = size_t{1} << 20;
    options.keep_log_file_num = 2;
    options.stats_dump_period_sec = 0;
    options.stats_persist_period_sec = 0;
    return options;
  }

  rocksdb::ColumnFamilyOptions ColumnOptions(Column column) const {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = block_cache;
    // In the cache, indexes count against its bound.
    table.cache_index_and_filter_blocks = true;

    rocksdb::ColumnFamilyOptions options;
    options.write_buffer_size = size_t{8} << 20;
    options.arena_block_size = size_t{128} << 10;
    options.level_compaction_dynamic_level_bytes = true;
    // Upper levels live for a short time.
    options.compression = rocksdb::kLZ4Compression;
    options.bottommost_compression =
        IsCompressed(column) ? rocksdb::kZSTD : rocksdb::kNoCompression;
    if (column == kDocuments || column == kPassages) {
      // Text of 100,000 abstracts cut at 330 bytes takes 38.4 % in blocks of
      // 4 KB, 37.0 % of 16 KB and 36.9 % of 32 KB (at level 6, with 64 KB of
      // dictionary), while a read decompresses a whole block. Level 9 with a
      // larger dictionary takes 35.0 %.
      table.block_size = size_t{16} << 10;
      rocksdb::CompressionOptions& zstd = options.bottommost_compression_opts;
      zstd.enabled = true;
      zstd.level = 9;
      zstd.max_dict_bytes = 110 << 10;
      zstd.zstd_max_train_bytes = 100 * zstd.max_dict_bytes;
      // What a compaction holds in memory until it has trained.
      zstd.max_dict_buffer_bytes = uint64_t{8} << 20;
    }
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    return options;
  }

  std::vector<rocksdb::ColumnFamilyDescriptor> Columns() const {
    std::vector<rocksdb::ColumnFamilyDescriptor> columns;
    for (size_t i = 0; i < kColumnCount; ++i) {
      columns.emplace_back(kColumnNames[i],
                           ColumnOptions(static_cast<Column>(i)));
    }
    return columns;
  }
};

RocksDbShared::RocksDbShared(const Options& options)
    : state_(std::make_unique<State>()) {
  if (options.file_system != nullptr) {
    state_->own_env = rocksdb::NewCompositeEnv(options.file_system);
    state_->env = state_->own_env.get();
  } else {
    state_->env = rocksdb::Env::Default();
  }
  state_->env->SetBackgroundThreads(options.background_threads,
                                    rocksdb::Env::LOW);
  // Nice 19, from the first compaction on: searches first.
  (void)state_->env->LowerThreadPoolCPUPriority(rocksdb::Env::LOW,
                                                rocksdb::CpuPriority::kLow);
  state_->env->SetBackgroundThreads(1, rocksdb::Env::HIGH);
  state_->background_threads = options.background_threads;
  state_->block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  state_->write_buffers =
      std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes);
}

RocksDbShared::~RocksDbShared() = default;

struct RocksDbStore::Database {
  // For messages.
  std::string name;
  bool read_only = false;
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> columns;

  ~Database() {
    for (rocksdb::ColumnFamilyHandle* column : columns) {
      // Fails only for a handle that is null.
      (void)db->DestroyColumnFamilyHandle(column);
    }
  }

  std::string Action(std::string_view verb) const {
    return absl::StrCat(AbslView(verb), " store ", name);
  }

  // nullopt where there is no such key.
  absl::StatusOr<std::optional<std::string>> Get(Column column,
                                                 std::string_view key) const {
    std::string value;
    const rocksdb::Status status =
        db->Get(rocksdb::ReadOptions(), columns[column], ToSlice(key), &value);
    if (status.IsNotFound()) {
      return std::nullopt;
    }
    PITH_RETURN_IF_ERROR(FromRocksDb(status, Action("read")));
    return value;
  }

  // Calls `visit` with each key that starts with `prefix`, in order, until it
  // fails.
  absl::Status Visit(Column column, std::string_view prefix,
                     absl::FunctionRef<absl::Status(std::string_view key,
                                                    std::string_view value)>
                         visit) const {
    const std::unique_ptr<rocksdb::Iterator> it(
        db->NewIterator(ScanOptions(), columns[column]));
    for (it->Seek(ToSlice(prefix));
         it->Valid() && it->key().starts_with(ToSlice(prefix)); it->Next()) {
      PITH_RETURN_IF_ERROR(visit(ToView(it->key()), ToView(it->value())));
    }
    return FromRocksDb(
        it->status(),
        Action(absl::StrCat("read ", kColumnNames[column], " of")));
  }

  // Calls `use` with i and the value of ids[i], where there is one, until it
  // fails.
  absl::Status MultiGet(
      Column column, std::span<const PassageId> ids,
      absl::FunctionRef<absl::Status(size_t i, std::string_view value)> use)
      const {
    std::vector<std::string> keys;
    keys.reserve(ids.size());
    for (const PassageId id : ids) {
      keys.push_back(EncodePassageKey(id));
    }
    const std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
    std::vector<rocksdb::PinnableSlice> values(ids.size());
    std::vector<rocksdb::Status> statuses(ids.size());
    db->MultiGet(rocksdb::ReadOptions(), columns[column], slices.size(),
                 slices.data(), values.data(), statuses.data());
    for (size_t i = 0; i < ids.size(); ++i) {
      if (statuses[i].IsNotFound()) {
        continue;
      }
      PITH_RETURN_IF_ERROR(FromRocksDb(
          statuses[i],
          Action(absl::StrCat("read ", kColumnNames[column], " of"))));
      PITH_RETURN_IF_ERROR(use(i, ToView(values[i])));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> GetMeta(std::string_view key) const {
    PITH_ASSIGN_OR_RETURN(std::optional<std::string> value, Get(kMeta, key));
    if (!value.has_value()) {
      return absl::DataLossError(absl::StrCat(
          Action("read"), ": no value for \"", AbslView(key), "\""));
    }
    return *std::move(value);
  }

  // After a failed write or flush RocksDB refuses all writes until it is
  // resumed, which flushes what the damaged log was to keep and starts a new
  // log. It keeps a damaged log if there is nothing to flush, so that there
  // must be something; the counts are put unchanged and outside the log, and
  // nothing is lost with them. Nothing may be written to a damaged log, not
  // even to see it fail.
  absl::Status Resume() const {
    PITH_ASSIGN_OR_RETURN(const std::string counts, GetMeta(kCountsKey));
    PITH_RETURN_IF_ERROR(FromRocksDb(db->Resume(), Action("resume")));
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    PITH_RETURN_IF_ERROR(
        FromRocksDb(db->Put(options, columns[kMeta], kCountsKey, counts),
                    Action("resume")));
    return FromRocksDb(db->Resume(), Action("resume"));
  }

  absl::Status Compact(Column column,
                       rocksdb::BottommostLevelCompaction bottommost,
                       std::atomic<bool>& cancelled) const {
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    options.bottommost_level_compaction = bottommost;
    options.canceled = &cancelled;
    return FromRocksDb(
        db->CompactRange(options, columns[column], nullptr, nullptr),
        Action("compact"));
  }

  // Whether the tables of a column family that has nothing above its bottommost
  // level are as a rewrite would leave them. RocksDB moves the first tables of
  // a store down as they are: with the upper levels' compression, without a
  // dictionary, and with marks for keys that are deleted.
  absl::StatusOr<bool> IsAtRest(Column column) const {
    rocksdb::TablePropertiesCollection tables;
    PITH_RETURN_IF_ERROR(
        FromRocksDb(db->GetPropertiesOfAllTables(columns[column], &tables),
                    Action("read table properties of")));
    const std::string_view compression =
        IsCompressed(column) ? "ZSTD" : "NoCompression";
    return std::all_of(tables.begin(), tables.end(), [&](const auto& table) {
      return table.second->compression_name == compression &&
             table.second->num_deletions == 0;
    });
  }

  // The version that the store has, which this build reads.
  absl::StatusOr<uint32_t> ReadFormat() const {
    PITH_ASSIGN_OR_RETURN(const std::string bytes, GetMeta(kFormatKey));
    Decoder decoder(bytes);
    const uint32_t version = decoder.Fixed32();
    if (!decoder.done() || version == 0) {
      return absl::DataLossError(absl::StrCat(Action("open"), ": format has ",
                                              bytes.size(),
                                              " bytes and is no version"));
    }
    if (version > kFormatVersion) {
      return absl::FailedPreconditionError(absl::StrCat(
          Action("open"), ": format ", version,
          " is newer than this build, which reads up to ", kFormatVersion));
    }
    return version;
  }

  // Version 1 had neither manifest nor tombstones, version 2 no vectors,
  // version 3 no stamps of files, version 4 no codes of unequal levels; a build
  // that knows no more must not open a store that may have them.
  absl::Status UpgradeFormat() const {
    PITH_ASSIGN_OR_RETURN(const uint32_t version, ReadFormat());
    if (version == kFormatVersion) {
      return absl::OkStatus();
    }
    rocksdb::WriteOptions options;
    options.sync = true;
    PITH_RETURN_IF_ERROR(
        FromRocksDb(db->Put(options, columns[kMeta], kFormatKey, FormatBytes()),
                    Action("upgrade")));
    LOG(INFO) << Action("upgraded") << " from format " << version << " to "
              << kFormatVersion;
    return absl::OkStatus();
  }

  static std::string FormatBytes() {
    std::string bytes;
    PutFixed32(kFormatVersion, bytes);
    return bytes;
  }

  // Column families that are missing are made.
  static absl::StatusOr<std::unique_ptr<Database>> Open(
      const fs::path& directory, const RocksDbShared::State& shared) {
    auto database = std::make_unique<Database>();
    database->name = directory.string();
    rocksdb::DBOptions options = shared.DatabaseOptions();
    options.create_missing_column_families = true;
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(
        options, directory.string(), shared.Columns(), &database->columns, &db);
    database->db.reset(db);
    PITH_RETURN_IF_ERROR(FromOpening(status, database->Action("open")));
    return database;
  }

  static absl::StatusOr<std::unique_ptr<Database>> OpenReadOnly(
      const fs::path& directory, const RocksDbShared::State& shared) {
    auto database = std::make_unique<Database>();
    database->name = directory.string();
    database->read_only = true;
    rocksdb::DBOptions options = shared.DatabaseOptions();
    options.info_log = std::make_shared<NoLog>();
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(
        options, directory.string(), shared.Columns(), &database->columns, &db);
    database->db.reset(db);
    PITH_RETURN_IF_ERROR(FromOpening(status, database->Action("open")));
    return database;
  }

  // Notes beside the manifest how long it is. RocksDB takes a manifest that was
  // cut off for the state that the rest of it describes, and then removes the
  // tables that are not in it; a manifest only grows, so that its length tells.
  absl::Status WriteWitness() const {
    std::vector<std::string> files;
    uint64_t manifest_bytes = 0;
    PITH_RETURN_IF_ERROR(FromRocksDb(
        db->GetLiveFiles(files, &manifest_bytes, /*flush_memtable=*/false),
        Action("list files of")));
    const auto manifest =
        std::find_if(files.begin(), files.end(), [](const std::string& file) {
          return absl::StartsWith(file, "/MANIFEST-");
        });
    if (manifest == files.end()) {
      return absl::InternalError(
          absl::StrCat(Action("list files of"), ": there is no manifest"));
    }
    return WriteFileAtomically(
        fs::path(name) / kWitnessFile,
        absl::StrCat(manifest->substr(1), " ", manifest_bytes, "\n"));
  }

  // kDataLoss if the manifest is shorter than it was when last looked at.
  static absl::Status CheckWitness(const fs::path& directory) {
    const absl::StatusOr<std::string> witness =
        ReadFile(directory / kWitnessFile, kMaxWitnessBytes);
    const absl::StatusOr<std::string> current =
        ReadFile(directory / "CURRENT", kMaxWitnessBytes);
    // Without one of them RocksDB will say what is wrong, if anything is.
    if (!witness.ok() || !current.ok()) {
      return absl::OkStatus();
    }
    const std::vector<std::string> fields =
        absl::StrSplit(absl::StripSuffix(*witness, "\n"), ' ');
    uint64_t bytes = 0;
    if (fields.size() != 2 || !absl::SimpleAtoi(fields[1], &bytes)) {
      return absl::DataLossError(
          absl::StrCat("open store ", directory.string(), ": ", kWitnessFile,
                       " does not say how long the manifest is"));
    }
    // RocksDB starts a manifest at each open; the note may be of an older one.
    if (absl::StripSuffix(*current, "\n") != fields[0]) {
      return absl::OkStatus();
    }
    std::error_code error;
    const uint64_t actual = fs::file_size(directory / fields[0], error);
    if (!error && actual < bytes) {
      return absl::DataLossError(absl::StrCat("open store ", directory.string(),
                                              ": ", fields[0], " has ", actual,
                                              " bytes, it had ", bytes));
    }
    return absl::OkStatus();
  }

  // The store's version; changes nothing in the directory.
  static absl::StatusOr<uint32_t> CheckFormat(
      const fs::path& directory, const RocksDbShared::State& shared) {
    Database database;
    database.name = directory.string();
    rocksdb::DBOptions options = shared.DatabaseOptions();
    options.info_log = std::make_shared<NoLog>();
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(
        options, directory.string(),
        {{kColumnNames[kMeta], shared.ColumnOptions(kMeta)}}, &database.columns,
        &db);
    database.db.reset(db);
    PITH_RETURN_IF_ERROR(FromOpening(status, database.Action("open")));
    return database.ReadFormat();
  }

  static absl::Status Create(const fs::path& directory,
                             std::string_view configuration,
                             const RocksDbShared::State& shared) {
    Database database;
    database.name = directory.string();
    rocksdb::DBOptions options = shared.DatabaseOptions();
    options.create_if_missing = true;
    options.create_missing_column_families = true;
    options.error_if_exists = true;
    rocksdb::DB* db = nullptr;
    const rocksdb::Status opened = rocksdb::DB::Open(
        options, directory.string(), shared.Columns(), &database.columns, &db);
    database.db.reset(db);
    PITH_RETURN_IF_ERROR(FromOpening(opened, database.Action("create")));

    rocksdb::WriteBatch batch;
    batch.Put(kFormatKey, FormatBytes());
    batch.Put(kConfigurationKey, ToSlice(configuration));
    batch.Put(kCountsKey, EncodeCounts(StoreCounts()));
    rocksdb::WriteOptions write;
    write.sync = true;
    return FromRocksDb(database.db->Write(write, &batch),
                       database.Action("create"));
  }
};

RocksDbStore::RocksDbStore(std::unique_ptr<Database> database,
                           std::string configuration)
    : database_(std::move(database)),
      configuration_(std::move(configuration)) {}

RocksDbStore::~RocksDbStore() {
  if (database_->read_only) {
    return;
  }
  if (const absl::Status status = database_->WriteWitness(); !status.ok()) {
    LOG(WARNING) << status;
  }
}

absl::StatusOr<std::unique_ptr<RocksDbStore>> RocksDbStore::Create(
    const fs::path& directory, std::string_view configuration,
    RocksDbShared& shared) {
  std::error_code error;
  if (fs::exists(directory, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat("create store ", directory.string(), ": it exists"));
  }
  // RocksDB takes many steps to create a database; a rename takes one.
  fs::path fresh = directory;
  fresh += ".new";
  fs::remove_all(fresh, error);
  if (error) {
    return ErrnoStatus(error.value(), "remove", fresh);
  }
  const absl::Status created =
      Database::Create(fresh, configuration, *shared.state_);
  if (!created.ok()) {
    fs::remove_all(fresh, error);
    return created;
  }
  PITH_RETURN_IF_ERROR(Rename(fresh, directory, *shared.state_->env));
  return Open(directory, shared);
}

absl::StatusOr<std::unique_ptr<RocksDbStore>> RocksDbStore::Open(
    const fs::path& directory, RocksDbShared& shared) {
  const std::string action = absl::StrCat("open store ", directory.string());
  std::error_code error;
  if (!fs::exists(directory, error)) {
    return absl::NotFoundError(absl::StrCat(action, ": no such directory"));
  }
  std::vector<std::string> columns;
  PITH_RETURN_IF_ERROR(FromOpening(
      rocksdb::DB::ListColumnFamilies(shared.state_->DatabaseOptions(),
                                      directory.string(), &columns),
      action));
  PITH_RETURN_IF_ERROR(Database::CheckWitness(directory));
  // A newer format may mean anything, so that not even a log may be replayed.
  PITH_ASSIGN_OR_RETURN(const uint32_t version,
                        Database::CheckFormat(directory, *shared.state_));
  // Also where an upgrade was interrupted when it had made the column family.
  if (version < kVectorsVersion &&
      std::find(columns.begin(), columns.end(), kColumnNames[kVectors]) ==
          columns.end()) {
    columns.emplace_back(kColumnNames[kVectors]);
  }
  if (!std::is_permutation(columns.begin(), columns.end(), kColumnNames.begin(),
                           kColumnNames.end())) {
    return absl::DataLossError(absl::StrCat(
        action, ": its column families are not those of format ", version));
  }
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                        Database::Open(directory, *shared.state_));
  PITH_ASSIGN_OR_RETURN(std::string configuration,
                        database->GetMeta(kConfigurationKey));
  std::unique_ptr<RocksDbStore> store(
      new RocksDbStore(std::move(database), std::move(configuration)));
  PITH_RETURN_IF_ERROR(store->GetCounts().status());
  PITH_RETURN_IF_ERROR(store->database_->UpgradeFormat());
  PITH_RETURN_IF_ERROR(store->database_->WriteWitness());
  return store;
}

absl::StatusOr<std::unique_ptr<RocksDbStore>> RocksDbStore::OpenReadOnly(
    const fs::path& directory, RocksDbShared& shared) {
  std::error_code error;
  if (!fs::exists(directory, error)) {
    return absl::NotFoundError(
        absl::StrCat("open store ", directory.string(), ": no such directory"));
  }
  PITH_RETURN_IF_ERROR(Database::CheckWitness(directory));
  PITH_ASSIGN_OR_RETURN(const uint32_t version,
                        Database::CheckFormat(directory, *shared.state_));
  // From then on a store has all column families that are read.
  if (version < kVectorsVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "open store ", directory.string(), " for reading: format ", version,
        " has to become ", kFormatVersion, " first, by opening it"));
  }
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<Database> database,
                        Database::OpenReadOnly(directory, *shared.state_));
  PITH_ASSIGN_OR_RETURN(std::string configuration,
                        database->GetMeta(kConfigurationKey));
  return std::unique_ptr<RocksDbStore>(
      new RocksDbStore(std::move(database), std::move(configuration)));
}

absl::Status RocksDbStore::Commit(const StoreBatch& batch,
                                  Durability durability) {
  const auto& columns = database_->columns;
  rocksdb::WriteBatch write;
  // Erasures first: a document that is erased and added again in one batch has
  // the same id under another number.
  for (const auto& [number, id] : batch.erase_documents) {
    write.Delete(columns[kDocuments], EncodeDocumentKey(number));
    write.Delete(columns[kIds], id);
  }
  for (const std::string& id : batch.erase_ids) {
    write.Delete(columns[kIds], id);
  }
  for (const PassageId id : batch.erase_passages) {
    const std::string key = EncodePassageKey(id);
    write.Delete(columns[kPassages], key);
    write.Delete(columns[kPending], key);
    write.Delete(columns[kCodes], key);
    write.Delete(columns[kVectors], key);
  }
  for (const StoreBatch::Document& document : batch.put_documents) {
    CHECK_LT(static_cast<uint64_t>(document.number),
             static_cast<uint64_t>(batch.counts.next_document));
    write.Put(columns[kDocuments], EncodeDocumentKey(document.number),
              EncodeDocumentRecord(document.record));
    write.Put(columns[kIds], document.record.id,
              EncodeDocumentNumber(document.number));
  }
  for (const Passage& passage : batch.put_passages) {
    const std::string key = EncodePassageKey(passage.id);
    write.Put(columns[kPassages], key, EncodePassageValue(passage));
    write.Put(columns[kPending], key, rocksdb::Slice());
  }
  // After the passages: one that is new may come with its code.
  for (const StoreBatch::Code& code : batch.put_codes) {
    const std::string key = EncodePassageKey(code.id);
    write.Put(columns[kCodes], key, code.bytes);
    write.Delete(columns[kPending], key);
  }
  for (const StoreBatch::Vector& vector : batch.put_vectors) {
    write.Put(columns[kVectors], EncodePassageKey(vector.id), vector.bytes);
  }
  for (const PassageId id : batch.erase_vectors) {
    write.Delete(columns[kVectors], EncodePassageKey(id));
  }
  for (const PassageId id : batch.erase_codes) {
    write.Delete(columns[kCodes], EncodePassageKey(id));
  }
  for (const PassageId id : batch.erase_tombstones) {
    write.Delete(columns[kMeta], EncodeTombstoneKey(id));
  }
  for (const PassageId id : batch.put_tombstones) {
    write.Put(columns[kMeta], EncodeTombstoneKey(id), rocksdb::Slice());
  }
  if (batch.manifest.has_value()) {
    write.Put(columns[kMeta], kManifestKey, *batch.manifest);
  }
  if (batch.sources.has_value()) {
    write.Put(columns[kMeta], kSourcesKey, *batch.sources);
  }
  for (const PassageId id : batch.erase_pending) {
    write.Delete(columns[kPending], EncodePassageKey(id));
  }
  for (const PassageId id : batch.put_pending) {
    write.Put(columns[kPending], EncodePassageKey(id), rocksdb::Slice());
  }
  if (batch.configuration.has_value()) {
    write.Put(columns[kMeta], kConfigurationKey, *batch.configuration);
  }
  write.Put(columns[kMeta], kCountsKey, EncodeCounts(batch.counts));

  rocksdb::WriteOptions options;
  options.sync = durability == Durability::kSynced;
  rocksdb::Status status = database_->db->Write(options, &write);
  if (!status.ok()) {
    PITH_RETURN_IF_ERROR(database_->Resume());
    status = database_->db->Write(options, &write);
  }
  return FromRocksDb(status, database_->Action("write to"));
}

absl::StatusOr<StoreCounts> RocksDbStore::GetCounts() const {
  PITH_ASSIGN_OR_RETURN(const std::string bytes,
                        database_->GetMeta(kCountsKey));
  return DecodeCounts(bytes);
}

absl::StatusOr<std::optional<DocumentNumber>> RocksDbStore::FindDocument(
    std::string_view id) const {
  PITH_ASSIGN_OR_RETURN(const std::optional<std::string> bytes,
                        database_->Get(kIds, id));
  if (!bytes.has_value()) {
    return std::nullopt;
  }
  return DecodeDocumentNumber(*bytes);
}

absl::StatusOr<std::optional<DocumentRecord>> RocksDbStore::GetDocument(
    DocumentNumber number) const {
  PITH_ASSIGN_OR_RETURN(const std::optional<std::string> bytes,
                        database_->Get(kDocuments, EncodeDocumentKey(number)));
  if (!bytes.has_value()) {
    return std::nullopt;
  }
  return DecodeDocumentRecord(*bytes);
}

absl::StatusOr<std::vector<std::optional<Passage>>> RocksDbStore::GetPassages(
    std::span<const PassageId> ids) const {
  std::vector<std::optional<Passage>> passages(ids.size());
  PITH_RETURN_IF_ERROR(database_->MultiGet(
      kPassages, ids, [&](size_t i, std::string_view value) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(passages[i], DecodePassageValue(ids[i], value));
        return absl::OkStatus();
      }));
  return passages;
}

absl::StatusOr<std::vector<std::optional<std::string>>>
RocksDbStore::GetVectors(std::span<const PassageId> ids) const {
  std::vector<std::optional<std::string>> vectors(ids.size());
  PITH_RETURN_IF_ERROR(
      database_->MultiGet(kVectors, ids, [&](size_t i, std::string_view value) {
        vectors[i] = std::string(value);
        return absl::OkStatus();
      }));
  return vectors;
}

absl::StatusOr<std::vector<DocumentSummary>> RocksDbStore::ListDocuments(
    std::string_view prefix, std::optional<std::string_view> after,
    size_t limit) const {
  const std::unique_ptr<rocksdb::Iterator> it(database_->db->NewIterator(
      rocksdb::ReadOptions(), database_->columns[kIds]));
  std::string first(prefix);
  if (after.has_value() && *after >= first) {
    // The smallest key greater than `after`.
    first = *after;
    first.push_back('\0');
  }
  std::vector<DocumentSummary> documents;
  for (it->Seek(first); it->Valid() && documents.size() < limit &&
                        it->key().starts_with(ToSlice(prefix));
       it->Next()) {
    PITH_ASSIGN_OR_RETURN(const DocumentNumber number,
                          DecodeDocumentNumber(ToView(it->value())));
    documents.push_back({it->key().ToString(), number});
  }
  PITH_RETURN_IF_ERROR(
      FromRocksDb(it->status(), database_->Action("list documents of")));
  return documents;
}

absl::StatusOr<bool> RocksDbStore::IsPending(PassageId passage) const {
  PITH_ASSIGN_OR_RETURN(const std::optional<std::string> mark,
                        database_->Get(kPending, EncodePassageKey(passage)));
  return mark.has_value();
}

absl::StatusOr<std::vector<PassageId>> RocksDbStore::ListPending(
    PassageId from, size_t limit) const {
  const std::unique_ptr<rocksdb::Iterator> it(
      database_->db->NewIterator(ScanOptions(), database_->columns[kPending]));
  std::vector<PassageId> ids;
  for (it->Seek(EncodePassageKey(from)); it->Valid() && ids.size() < limit;
       it->Next()) {
    PITH_ASSIGN_OR_RETURN(const PassageId id,
                          DecodePassageKey(ToView(it->key())));
    ids.push_back(id);
  }
  PITH_RETURN_IF_ERROR(
      FromRocksDb(it->status(), database_->Action("list pending of")));
  return ids;
}

absl::Status RocksDbStore::VisitCodes(
    const std::function<absl::Status(PassageId, std::string_view code)>& visit)
    const {
  return database_->Visit(
      kCodes, "",
      [&](std::string_view key, std::string_view value) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const PassageId id, DecodePassageKey(key));
        return visit(id, value);
      });
}

absl::Status RocksDbStore::VisitTombstones(
    const std::function<absl::Status(PassageId)>& visit) const {
  return database_->Visit(
      kMeta, kTombstonePrefix,
      [&](std::string_view key, std::string_view /*value*/) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const PassageId id, DecodeTombstoneKey(key));
        return visit(id);
      });
}

absl::Status RocksDbStore::VisitDocuments(
    const std::function<absl::Status(
        DocumentNumber, const absl::StatusOr<DocumentRecord>&)>& visit) const {
  return database_->Visit(
      kDocuments, "",
      [&](std::string_view key, std::string_view value) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const DocumentNumber number,
                              DecodeDocumentKey(key));
        return visit(number, DecodeDocumentRecord(value));
      });
}

absl::Status RocksDbStore::VisitPassages(
    const std::function<absl::Status(PassageId)>& visit) const {
  return database_->Visit(
      kPassages, "",
      [&](std::string_view key, std::string_view /*value*/) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const PassageId id, DecodePassageKey(key));
        return visit(id);
      });
}

absl::Status RocksDbStore::VisitVectors(
    const std::function<absl::Status(PassageId, std::string_view vector)>&
        visit) const {
  return database_->Visit(
      kVectors, "",
      [&](std::string_view key, std::string_view value) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const PassageId id, DecodePassageKey(key));
        return visit(id, value);
      });
}

absl::Status RocksDbStore::CheckBytes(const WorkControl& control) const {
  rocksdb::DB& db = *database_->db;
  const std::string action = database_->Action("check");
  // Files are read by name: no compaction is to remove them meanwhile.
  if (!database_->read_only) {
    PITH_RETURN_IF_ERROR(FromRocksDb(db.DisableFileDeletions(), action));
  }
  const auto enable = absl::MakeCleanup([&] {
    if (!database_->read_only) {
      // Fails for a database that cannot delete files.
      (void)db.EnableFileDeletions(/*force=*/false);
    }
  });
  // Every byte is read from its file, none from the cache.
  const std::shared_ptr<rocksdb::TableFactory> uncached(
      rocksdb::NewBlockBasedTableFactory({.no_block_cache = true}));
  std::vector<rocksdb::LiveFileMetaData> tables;
  db.GetLiveFilesMetaData(&tables);
  uint64_t total = 0;
  for (const rocksdb::LiveFileMetaData& table : tables) {
    total += table.size;
  }
  uint64_t done = 0;
  for (const rocksdb::LiveFileMetaData& table : tables) {
    control.progress(done, total);
    if (control.cancelled()) {
      return absl::CancelledError("cancelled");
    }
    const auto column =
        std::find_if(database_->columns.begin(), database_->columns.end(),
                     [&](const rocksdb::ColumnFamilyHandle* handle) {
                       return handle->GetName() == table.column_family_name;
                     });
    if (column == database_->columns.end()) {
      return absl::InternalError(absl::StrCat(
          action, ": ", table.relative_filename,
          " is of the unknown column family ", table.column_family_name));
    }
    rocksdb::Options options = db.GetOptions(*column);
    options.table_factory = uncached;
    PITH_RETURN_IF_ERROR(FromRocksDb(
        rocksdb::VerifySstFileChecksum(
            options, rocksdb::EnvOptions(options), ScanOptions(),
            absl::StrCat(table.directory, "/", table.relative_filename)),
        action));
    done += table.size;
  }
  control.progress(done, total);
  return absl::OkStatus();
}

absl::Status RocksDbStore::Checkpoint(const fs::path& directory) const {
  const std::string action =
      absl::StrCat(database_->Action("copy"), " to ", directory.string());
  rocksdb::Checkpoint* made = nullptr;
  PITH_RETURN_IF_ERROR(FromRocksDb(
      rocksdb::Checkpoint::Create(database_->db.get(), &made), action));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  std::error_code error;
  if (fs::exists(directory, error)) {
    return absl::AlreadyExistsError(absl::StrCat(action, ": it exists"));
  }
  // RocksDB makes directories that others may read, under names of its own.
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(directory));
  const fs::path inner = directory / "checkpoint";
  PITH_RETURN_IF_ERROR(
      FromRocksDb(checkpoint->CreateCheckpoint(inner.string()), action));
  for (fs::directory_iterator it(inner, error), end; !error && it != end;
       it.increment(error)) {
    fs::rename(it->path(), directory / it->path().filename(), error);
    if (error) {
      break;
    }
  }
  if (!error) {
    fs::remove(inner, error);
  }
  if (error) {
    return ErrnoStatus(error.value(), "move files of", inner);
  }
  return SyncPath(directory);
}

absl::StatusOr<std::optional<std::string>> RocksDbStore::GetManifest() const {
  return database_->Get(kMeta, kManifestKey);
}

absl::StatusOr<std::optional<std::string>> RocksDbStore::GetSources() const {
  return database_->Get(kMeta, kSourcesKey);
}

absl::Status RocksDbStore::Settle(std::atomic<bool>& cancelled) {
  if (cancelled) {
    return absl::CancelledError(database_->Action("settle"));
  }
  PITH_RETURN_IF_ERROR(FromRocksDb(
      database_->db->Flush(rocksdb::FlushOptions(), database_->columns),
      database_->Action("flush")));
  for (size_t i = 0; i < kColumnCount; ++i) {
    const Column column = static_cast<Column>(i);
    using rocksdb::BottommostLevelCompaction;
    PITH_RETURN_IF_ERROR(database_->Compact(
        column, BottommostLevelCompaction::kSkip, cancelled));
    PITH_ASSIGN_OR_RETURN(const bool at_rest, database_->IsAtRest(column));
    if (!at_rest) {
      PITH_RETURN_IF_ERROR(database_->Compact(
          column, BottommostLevelCompaction::kForceOptimized, cancelled));
    }
  }
  return database_->WriteWitness();
}

}  // namespace pith
