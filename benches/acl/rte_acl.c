/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The rival: librte_acl over the rules and packets that benches/acl writes to a file. A program of its own, because
 * librte_acl wants an EAL and takes its memory from there. Built by `scripts/bench acl`.
 *
 *   rte_acl INPUT ANSWERS [ROUNDS]
 *
 * INPUT: counts of rules and packets (u32 each), then struct rule and struct packet as below, host order. ANSWERS gets a u32 for
 * each packet: the rule's number plus one, 0 for none. Prints: milliseconds to build, MiB of growth while building (peak resident), and
 * lookups a second in millions, one at a time and in bursts of 32.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <rte_acl.h>
#include <rte_byteorder.h>
#include <rte_eal.h>

enum { BATCH = 1024, BURST = 32 };

struct rule {
	uint32_t src, src_len, dst, dst_len;
	uint16_t sport[2], dport[2];
	uint32_t proto, proto_mask;
};

struct packet {
	uint32_t src, dst;
	uint16_t sport, dport;
	uint32_t proto;
};

/* What librte_acl looks at, network order; its first field must be one byte. */
struct header {
	uint8_t proto, pad[3];
	uint32_t src, dst;
	uint16_t sport, dport;
};

RTE_ACL_RULE_DEF(acl_rule, 5);

#define FIELD(n, kind, bytes, in, member) \
	{ .type = RTE_ACL_FIELD_TYPE_##kind, .size = bytes, .field_index = n, .input_index = in, \
	  .offset = offsetof(struct header, member) }

static const struct rte_acl_field_def fields[] = {
	FIELD(0, BITMASK, 1, 0, proto), FIELD(1, MASK, 4, 1, src), FIELD(2, MASK, 4, 2, dst),
	FIELD(3, RANGE, 2, 3, sport), FIELD(4, RANGE, 2, 3, dport),
};

static void die(const char *what)
{
	fprintf(stderr, "rte_acl: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double peak_mib(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss / 1024.0;
}

static void *take(FILE *file, size_t count, size_t size)
{
	void *all = malloc(count * size + 1);
	if (all == NULL || fread(all, size, count, file) != count)
		die("the input is short");
	return all;
}

static struct rte_acl_ctx *build(const struct rule *rules, uint32_t count)
{
	struct rte_acl_param param = {
		.name = "rival", .socket_id = SOCKET_ID_ANY, .rule_size = RTE_ACL_RULE_SZ(5), .max_rule_num = count,
	};
	struct rte_acl_ctx *ctx = rte_acl_create(&param);
	if (ctx == NULL)
		die("rte_acl_create failed");
	for (uint32_t i = 0; i < count; i++) {
		const struct rule *r = &rules[i];
		struct acl_rule rule;
		memset(&rule, 0, sizeof(rule));
		rule.data = (struct rte_acl_rule_data){
			.category_mask = 1, .priority = RTE_ACL_MAX_PRIORITY - (int32_t)i, .userdata = i + 1,
		};
		rule.field[0].value.u8 = r->proto;
		rule.field[0].mask_range.u8 = r->proto_mask;
		rule.field[1].value.u32 = r->src;
		rule.field[1].mask_range.u32 = r->src_len;
		rule.field[2].value.u32 = r->dst;
		rule.field[2].mask_range.u32 = r->dst_len;
		rule.field[3].value.u16 = r->sport[0];
		rule.field[3].mask_range.u16 = r->sport[1];
		rule.field[4].value.u16 = r->dport[0];
		rule.field[4].mask_range.u16 = r->dport[1];
		if (rte_acl_add_rules(ctx, (struct rte_acl_rule *)&rule, 1) != 0)
			die("rte_acl_add_rules failed");
	}
	struct rte_acl_config config = { .num_categories = 1, .num_fields = RTE_DIM(fields) };
	memcpy(config.defs, fields, sizeof(fields));
	if (rte_acl_build(ctx, &config) != 0)
		die("rte_acl_build failed");
	return ctx;
}

/* Millions a second, `burst` at a time: each batch's best round, so that what else the machine does is left out. */
static double rate(const struct rte_acl_ctx *ctx, const uint8_t **data, uint32_t *answers, uint32_t count, uint32_t burst,
	int rounds)
{
	uint32_t batches = count / BATCH;
	double *best = malloc(sizeof(double) * batches), total = 0;
	for (int round = 0; round < rounds; round++) {
		for (uint32_t b = 0; b < batches; b++) {
			double began = now();
			for (uint32_t i = b * BATCH; i < (b + 1) * BATCH; i += burst)
				rte_acl_classify(ctx, &data[i], &answers[i], burst, 1);
			double took = now() - began;
			if (round == 0 || took < best[b])
				best[b] = took;
		}
	}
	for (uint32_t b = 0; b < batches; b++)
		total += best[b];
	free(best);
	return batches * BATCH / total / 1e6;
}

int main(int argc, char **argv)
{
	char *eal[] = { "rte_acl", "--no-huge", "--no-pci", "--no-telemetry", "-m", "6144", "--log-level=error",
		"--no-shconf" };
	if (argc < 3)
		die("usage: rte_acl INPUT ANSWERS [ROUNDS]");
	int rounds = argc > 3 ? atoi(argv[3]) : 8;
	FILE *input = fopen(argv[1], "rb"), *output = fopen(argv[2], "wb");
	if (input == NULL || output == NULL)
		die("cannot open the files");
	uint32_t *counts = take(input, 2, sizeof(uint32_t));
	struct rule *rules = take(input, counts[0], sizeof(*rules));
	struct packet *packets = take(input, counts[1], sizeof(*packets));
	if (rte_eal_init(RTE_DIM(eal), eal) < 0)
		die("rte_eal_init failed");

	uint32_t n = counts[1];
	struct header *headers = calloc(n, sizeof(*headers));
	const uint8_t **data = calloc(n, sizeof(*data));
	uint32_t *answers = calloc(n, sizeof(*answers));
	for (uint32_t i = 0; i < n; i++) {
		const struct packet *p = &packets[i];
		headers[i] = (struct header){
			.proto = p->proto, .src = rte_cpu_to_be_32(p->src), .dst = rte_cpu_to_be_32(p->dst),
			.sport = rte_cpu_to_be_16(p->sport), .dport = rte_cpu_to_be_16(p->dport),
		};
		data[i] = (const uint8_t *)&headers[i];
	}
	double before = peak_mib(), began = now();
	struct rte_acl_ctx *ctx = build(rules, counts[0]);
	double built = (now() - began) * 1e3, memory = peak_mib() - before;
	double single = rate(ctx, data, answers, n, 1, rounds), burst = rate(ctx, data, answers, n, BURST, rounds);
	printf("%.3f %.3f %.3f %.3f\n", built, memory, single, burst);
	if (fwrite(answers, sizeof(*answers), n, output) != n || fclose(output) != 0)
		die("cannot write the answers");
	return 0;
}
