/* What Python reads of ids.h and structs.h, for _core: lists that end with a name NULL. */
#ifndef CMLP_TABLES_H
#define CMLP_TABLES_H

#include "kernels/ids.h"
#include "kernels/structs.h"

typedef struct {
    const char *name;
    int id;
} cmlp_name;

#define CMLP_NAME(ID, name) {#name, CMLP_##ID},
static const cmlp_name cmlp_activation_names[] = {CMLP_ACTIVATIONS(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_loss_names[] = {CMLP_LOSSES(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_rule_names[] = {CMLP_RULES(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_slot_names[] = {CMLP_SLOTS(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_kind_names[] = {CMLP_KINDS(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_layout_names[] = {CMLP_LAYOUTS(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_batch_way_names[] = {CMLP_BATCH_WAYS(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_input_gradient_names[] = {CMLP_INPUT_GRADIENTS(CMLP_NAME){NULL, 0}};
static const cmlp_name cmlp_per_sample_names[] = {CMLP_PER_SAMPLE_WAYS(CMLP_NAME){NULL, 0}};

/* A field of a struct, its type as NumPy spells it. */
typedef struct {
    const char *name, *type;
    ptrdiff_t offset;
} cmlp_field;

#define CMLP_TYPE_int "i4"
#define CMLP_TYPE_ptrdiff_t "p"
#define CMLP_TYPE_uint64_t "u8"
#define CMLP_TYPE_double "f8"
#define CMLP_FIELD(type, name, struct) {#name, CMLP_TYPE_##type, offsetof(struct, name)},
#define CMLP_DEFAULT(type, name, nothing) .name = nothing,

#define CMLP_OP_FIELD(type, name, nothing) CMLP_FIELD(type, name, cmlp_op)
static const cmlp_field cmlp_op_fields[] = {CMLP_OP_FIELDS(CMLP_OP_FIELD){NULL, NULL, sizeof(cmlp_op)}};
static const cmlp_op cmlp_op_defaults = {CMLP_OP_FIELDS(CMLP_DEFAULT)};

#define CMLP_NET_FIELD(type, name, nothing) CMLP_FIELD(type, name, cmlp_net)
static const cmlp_field cmlp_net_fields[] = {CMLP_NET_FIELDS(CMLP_NET_FIELD){NULL, NULL, sizeof(cmlp_net)}};
static const cmlp_net cmlp_net_defaults = {CMLP_NET_FIELDS(CMLP_DEFAULT)};

#define CMLP_UPDATE_FIELD(type, name, nothing) CMLP_FIELD(type, name, cmlp_update)
static const cmlp_field cmlp_update_fields[] = {CMLP_UPDATE_FIELDS(CMLP_UPDATE_FIELD){NULL, NULL, sizeof(cmlp_update)}};
static const cmlp_update cmlp_update_defaults = {CMLP_UPDATE_FIELDS(CMLP_DEFAULT)};

#endif
