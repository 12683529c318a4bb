/* A PKCS#11 library around another one (FPS_SHIM_REAL) that fails on order. Each call reads FPS_SHIM_ORDERS anew, a file of lines

       CALL SLOT CODE TIMES

   CALL: a name below; SLOT: a number, or * for any; CODE: what it answers (hexadecimal); TIMES: how often, -1 for ever.
   Instead of a code, C_GetSlotList takes "grow" (the number that is said first is one too few) and "shrink" (one too
   many), and C_GetTokenInfo takes "label" (another label, that of FPS_SHIM_LABEL), "blank" (a token that nobody has
   initialised, with that label), "garbage" and "counts" (the token says that a PIN was wrong); "say" writes to standard error first,
   as much as TIMES says, and then does what it does. C_Login takes "pin": it says the PIN there. FPS_SHIM_MORE: so many slots more than the real ones, from 9000 on,
   each with a token that is not there until an order says something else. No header of PKCS#11 is needed to build it. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long Number;
typedef struct { unsigned char version[2]; void *call[68]; } List;
typedef struct {
    unsigned char label[32], maker[32], model[16], serial[16];
    Number flags, counts[10];
    unsigned char hardware[2], firmware[2], time[16];
} Token;

enum { INITIALIZE = 0, GET_INFO = 2, FUNCTION_LIST = 3, SLOT_LIST = 4, SLOT_INFO = 5, TOKEN_INFO = 6, OPEN = 12, LOGIN = 18, SIGN_INIT = 42 };
enum { MORE = 9000, DONE_MAX = 64 };

static List real, ours;
static int done[DONE_MAX];

static int more(void) { const char *text = getenv("FPS_SHIM_MORE"); return text ? atoi(text) : 0; }

/* What the orders say of a call, or an empty text. Each line counts by its place how often it was followed. */
static const char *ordered(const char *call, Number slot) {
    static char what[32];
    char line[256], name[64], where[32];
    int times, at = 0;
    FILE *file = fopen(getenv("FPS_SHIM_ORDERS"), "r");
    what[0] = 0;
    if (!file) return what;
    for (; at < DONE_MAX && fgets(line, sizeof line, file); at++) {
        if (sscanf(line, "%63s %31s %31s %d", name, where, what, &times) != 4) continue;
        if (strcmp(name, call) || (strcmp(where, "*") && strtoul(where, 0, 10) != slot)) continue;
        if (!strcmp(what, "say")) {
            char block[1024];
            memset(block, 'x', sizeof block);
            block[sizeof block - 1] = '\n';
            if (!done[at]++) for (int said = 0; said < times; said += sizeof block) (void)!write(2, block, sizeof block);
            continue;
        }
        if (times >= 0 && done[at] >= times) continue;
        done[at]++;
        fclose(file);
        return what;
    }
    fclose(file);
    what[0] = 0;
    return what;
}

static int is_code(const char *what) { return what[0] == '0' && what[1] == 'x'; }

#define FAIL_ON_ORDER(name, slot) \
    const char *what = ordered(name, slot); \
    if (is_code(what)) return strtoul(what, 0, 16)

static Number initialize(void *options) {
    FAIL_ON_ORDER("C_Initialize", 0);
    return ((Number (*)(void *))real.call[INITIALIZE])(options);
}

static Number get_info(void *info) {
    FAIL_ON_ORDER("C_GetInfo", 0);
    return ((Number (*)(void *))real.call[GET_INFO])(info);
}

static Number slot_list(unsigned char present, Number *slots, Number *count) {
    FAIL_ON_ORDER(slots ? "C_GetSlotList:list" : "C_GetSlotList", 0);
    Number room = *count, there = 256, all[256];
    Number status = ((Number (*)(unsigned char, Number *, Number *))real.call[SLOT_LIST])(present, all, &there);
    if (status) return status;
    for (int at = 0; at < more(); at++) all[there++] = MORE + at;
    *count = there;
    if (!slots) {
        if (!strcmp(what, "grow")) *count = there - 1;
        if (!strcmp(what, "shrink")) *count = there + 1;
        return 0;
    }
    if (room < there) return 0x150;
    memcpy(slots, all, there * sizeof *slots);
    return 0;
}

static Number slot_info(Number slot, void *info) {
    FAIL_ON_ORDER("C_GetSlotInfo", slot);
    if (slot >= MORE && slot < MORE + (Number)more()) { memset(info, 0, 112); return 0; }
    return ((Number (*)(Number, void *))real.call[SLOT_INFO])(slot, info);
}

static Number token_info(Number slot, Token *info) {
    FAIL_ON_ORDER("C_GetTokenInfo", slot);
    if (slot >= MORE && slot < MORE + (Number)more()) {
        if (!what[0]) return 0xE0;
        memset(info, 0, sizeof *info);
    } else {
        Number status = ((Number (*)(Number, Token *))real.call[TOKEN_INFO])(slot, info);
        if (status) return status;
    }
    if (!strcmp(what, "counts")) info->flags |= 0x10000;
    if (!strcmp(what, "label") || !strcmp(what, "blank")) {
        const char *label = getenv("FPS_SHIM_LABEL");
        memset(info->label, ' ', sizeof info->label);
        memcpy(info->label, label, strlen(label));
        info->flags = what[0] == 'l' ? 0x400 : 0;
    }
    if (!strcmp(what, "garbage")) memset(info, 0xFF, sizeof *info);
    return 0;
}

static Number open_session(Number slot, Number flags, void *given, void *call, Number *session) {
    FAIL_ON_ORDER("C_OpenSession", slot);
    return ((Number (*)(Number, Number, void *, void *, Number *))real.call[OPEN])(slot, flags, given, call, session);
}

static Number login(Number session, Number user, unsigned char *pin, Number length) {
    FAIL_ON_ORDER("C_Login", 0);
    if (!strcmp(what, "pin")) {
        (void)!write(2, "the PIN is ", 11);
        (void)!write(2, pin, length);
        (void)!write(2, " indeed\n", 8);
    }
    return ((Number (*)(Number, Number, unsigned char *, Number))real.call[LOGIN])(session, user, pin, length);
}

static Number sign_init(Number session, void *mechanism, Number key) {
    FAIL_ON_ORDER("C_SignInit", 0);
    return ((Number (*)(Number, void *, Number))real.call[SIGN_INIT])(session, mechanism, key);
}

Number C_GetFunctionList(List **list) {
    FAIL_ON_ORDER("C_GetFunctionList", 0);
    if (!ours.call[0]) {
        void *library = dlopen(getenv("FPS_SHIM_REAL"), RTLD_NOW);
        List *given = 0;
        if (!library) return 0x5;
        ((Number (*)(List **))dlsym(library, "C_GetFunctionList"))(&given);
        ours = real = *given;
        ours.call[INITIALIZE] = initialize;
        ours.call[GET_INFO] = get_info;
        ours.call[FUNCTION_LIST] = C_GetFunctionList;
        ours.call[SLOT_LIST] = slot_list;
        ours.call[SLOT_INFO] = slot_info;
        ours.call[TOKEN_INFO] = token_info;
        ours.call[OPEN] = open_session;
        ours.call[LOGIN] = login;
        ours.call[SIGN_INIT] = sign_init;
    }
    *list = &ours;
    return 0;
}
