#include "benchmarks/recall/faiss_index.h"

#include <algorithm>
#include <exception>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "benchmarks/recall/inner_products.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "faiss/Clustering.h"
#include "faiss/IndexFlat.h"
#include "faiss/IndexHNSW.h"
#include "faiss/impl/AuxIndexStructures.h"
#include "faiss/impl/DistanceComputer.h"
#include "faiss/impl/HNSW.h"
#include "faiss/impl/ProductQuantizer.h"
#include "faiss/impl/io.h"
#include "faiss/index_io.h"
#include "faiss/utils/Heap.h"
#include "faiss/utils/utils.h"

namespace pith {
namespace {

// What `call` returns, or what it throws as a status.
template <typename Call>
auto Guarded(std::string_view action, const Call& call)
    -> absl::StatusOr<std::invoke_result_t<Call>> {
  try {
    return call();
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("faiss: ", AbslView(action), ": ", error.what()));
  }
}

// FAISS minimises.
class RowDistance : public faiss::DistanceComputer {
 public:
  explicit RowDistance(const Matrix& vectors) : vectors_(vectors) {}

  void set_query(const float* query) override {
    query_ = {query, vectors_.columns()};
  }
  float operator()(idx_t i) override { return Distance(query_, i); }
  float symmetric_dis(idx_t i, idx_t j) override {
    return Distance(vectors_.row(static_cast<size_t>(i)), j);
  }

 private:
  float Distance(std::span<const float> vector, idx_t i) const {
    float product = 0;
    InnerProducts(vector, vectors_, static_cast<size_t>(i), {&product, 1});
    return -product;
  }

  const Matrix& vectors_;
  std::span<const float> query_;
};

// Stands for vectors that are stored elsewhere, which saves a copy and, since
// Debian's FAISS is built without AVX2, most of the build's time.
class BorrowedRows : public faiss::Index {
 public:
  explicit BorrowedRows(const Matrix& vectors)
      : Index(static_cast<idx_t>(vectors.columns())), vectors_(vectors) {}

  void add(idx_t n, const float* /*rows*/) override { ntotal += n; }
  void reset() override { ntotal = 0; }
  void search(idx_t, const float*, idx_t, float*, idx_t*,
              const faiss::SearchParameters*) const override {}
  faiss::DistanceComputer* get_distance_computer() const override {
    return new RowDistance(vectors_);  // The caller owns it.
  }

 private:
  const Matrix& vectors_;
};

class CountedDistance : public faiss::DistanceComputer {
 public:
  explicit CountedDistance(absl::FunctionRef<float(uint32_t)> similarity)
      : similarity_(similarity) {}

  void set_query(const float* /*query*/) override {}
  float operator()(idx_t i) override {
    ++evaluations_;
    return -similarity_(static_cast<uint32_t>(i));
  }
  // Only builds ask for it.
  float symmetric_dis(idx_t /*i*/, idx_t /*j*/) override { return 0; }

  size_t evaluations() const { return evaluations_; }

 private:
  const absl::FunctionRef<float(uint32_t)> similarity_;
  size_t evaluations_ = 0;
};

}  // namespace

struct FaissHnsw::State {
  explicit State(faiss::HNSW links)
      : hnsw(std::move(links)), visited(static_cast<int>(hnsw.levels.size())) {}

  faiss::HNSW hnsw;
  faiss::VisitedTable visited;
};

FaissHnsw::FaissHnsw(std::unique_ptr<State> state) : state_(std::move(state)) {}
FaissHnsw::~FaissHnsw() = default;

absl::StatusOr<std::unique_ptr<FaissHnsw>> FaissHnsw::Build(
    const Matrix& vectors, const Options& options) {
  return Guarded("build an HNSW graph", [&] {
    BorrowedRows storage(vectors);
    faiss::IndexHNSW index(&storage, options.m);
    index.hnsw.efConstruction = options.ef_construction;
    index.add(static_cast<faiss::Index::idx_t>(vectors.rows()),
              vectors.values().data());
    return std::unique_ptr<FaissHnsw>(
        new FaissHnsw(std::make_unique<State>(std::move(index.hnsw))));
  });
}

absl::StatusOr<std::string> FaissHnsw::Serialize() const {
  return Guarded("write an HNSW graph", [&] {
    // FAISS writes no links without an index; this one has no vectors.
    faiss::IndexHNSWFlat index(1, 1);
    index.hnsw = state_->hnsw;
    faiss::VectorIOWriter writer;
    faiss::write_index(&index, &writer);
    return std::string(writer.data.begin(), writer.data.end());
  });
}

absl::StatusOr<std::unique_ptr<FaissHnsw>> FaissHnsw::Deserialize(
    std::string_view bytes) {
  return Guarded("read an HNSW graph", [&] {
    faiss::VectorIOReader reader;
    reader.data.assign(bytes.begin(), bytes.end());
    const std::unique_ptr<faiss::Index> index(faiss::read_index(&reader));
    return std::unique_ptr<FaissHnsw>(new FaissHnsw(std::make_unique<State>(
        std::move(dynamic_cast<faiss::IndexHNSW&>(*index).hnsw))));
  });
}

absl::StatusOr<FaissHnsw::Found> FaissHnsw::Search(
    absl::FunctionRef<float(uint32_t)> similarity, size_t ef) {
  return Guarded("search an HNSW graph", [&] {
    std::vector<faiss::HNSW::idx_t> labels(ef);
    std::vector<float> distances(ef);
    faiss::maxheap_heapify(ef, distances.data(), labels.data());
    CountedDistance distance(similarity);
    faiss::SearchParametersHNSW parameters;
    parameters.efSearch = static_cast<int>(ef);
    state_->hnsw.search(distance, static_cast<int>(ef), labels.data(),
                        distances.data(), state_->visited, &parameters);
    faiss::maxheap_reorder(ef, distances.data(), labels.data());
    Found found{.evaluations = distance.evaluations()};
    for (const faiss::HNSW::idx_t label : labels) {
      if (label >= 0) {
        found.nodes.push_back(static_cast<uint32_t>(label));
      }
    }
    return found;
  });
}

size_t FaissHnsw::edge_count() const {
  const auto& slots = state_->hnsw.neighbors;
  return static_cast<size_t>(std::count_if(slots.begin(), slots.end(),
                                           [](int node) { return node >= 0; }));
}

size_t FaissHnsw::edge_slots() const {
  return state_->hnsw.neighbors.size();
}

absl::StatusOr<ProductCodes> TrainProductCodes(const Matrix& vectors,
                                               size_t parts,
                                               size_t training_vectors,
                                               int iterations) {
  return Guarded("train a product quantizer", [&] {
    faiss::ProductQuantizer quantizer(vectors.columns(), parts, 8);
    quantizer.cp.niter = iterations;
    quantizer.cp.min_points_per_centroid = 1;  // Else it warns.
    size_t sample_size = vectors.rows();
    const float* const all = vectors.values().data();
    const float* const sample = faiss::fvecs_maybe_subsample(
        vectors.columns(), &sample_size, training_vectors, all);
    const std::unique_ptr<const float[]> drawn(sample == all ? nullptr
                                                             : sample);
    quantizer.train(sample_size, sample);
    ProductCodes result{
        .parts = parts,
        .centroids = Matrix(parts * quantizer.ksub, quantizer.dsub),
        .codes = std::vector<uint8_t>(vectors.rows() * parts)};
    std::copy(quantizer.centroids.begin(), quantizer.centroids.end(),
              result.centroids.values().begin());
    quantizer.compute_codes(vectors.values().data(), result.codes.data(),
                            vectors.rows());
    return result;
  });
}

absl::StatusOr<Matrix> KMeans(const Matrix& vectors, size_t clusters,
                              int iterations) {
  return Guarded("run k-means", [&] {
    faiss::ClusteringParameters parameters;
    parameters.niter = iterations;
    parameters.min_points_per_centroid = 1;  // Else it warns.
    faiss::Clustering clustering(static_cast<int>(vectors.columns()),
                                 static_cast<int>(clusters), parameters);
    faiss::IndexFlatL2 index(
        static_cast<faiss::Index::idx_t>(vectors.columns()));
    clustering.train(static_cast<faiss::Index::idx_t>(vectors.rows()),
                     vectors.values().data(), index);
    Matrix centroids(clusters, vectors.columns());
    std::copy(clustering.centroids.begin(), clustering.centroids.end(),
              centroids.values().begin());
    return centroids;
  });
}

}  // namespace pith
