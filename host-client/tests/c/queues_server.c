/*
 * A server of `queues`, written from the document of that dialect and nothing else: what a client
 * must get along with. A log-in has two answers and no third; a direct message is read as the
 * document's struct says (type: from whom, address: to whom); the second half of a request to join
 * or leave is waited for as long as it takes; and everything is sent in the full size of the
 * struct, waiting for room.
 *
 *   queues_server KEY CONFIG
 *
 * CONFIG has a line "login password" per user. There are three groups. The server ends when its
 * queue is removed.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <time.h>

#define MOST 11 /* 12 and above are operations */
#define GROUPS 3

struct message {
    long type;
    char text[400];
    int address;
    time_t message_time;
};

static struct user {
    char name[32], password[32];
    int id_server; /* the key of the client's queue; 0: not logged in */
    int member[GROUPS + 1];
} users[MOST + 1];

/* Clients whose second message of two is to come, and what the first one said. */
static struct half {
    int id_server;
    long type;
    int k;
} halves[MOST];

static int count, queue;

static void read_config(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) exit(2);
    while (count < MOST &&
           fscanf(file, "%31s %31s", users[count + 1].name, users[count + 1].password) == 2)
        count++;
    fclose(file);
}

static void put(int id_server, long type, const char *text, int address) {
    struct message out;
    int client = msgget(id_server, 0);
    memset(&out, 0, sizeof out);
    out.type = type;
    snprintf(out.text, sizeof out.text, "%s", text);
    out.address = address;
    out.message_time = time(NULL);
    if (client >= 0) msgsnd(client, &out, sizeof out - sizeof(long), 0);
}

static void answer(const struct message *in, const char *text) {
    put(in->address, in->type, text, in->address);
}

static int index_of(const char *text) {
    int k = atoi(text);
    return k >= 1 && k <= count ? k : 0;
}

/* Whether this is the second message of two; k is then what the first one said. */
static int is_second(const struct message *in, int *k) {
    for (struct half *half = halves; half < halves + MOST; half++) {
        if (half->id_server != in->address || half->type != in->type) continue;
        *k = half->k;
        half->id_server = 0;
        return 1;
    }
    return 0;
}

static void was_first(const struct message *in, int k) {
    struct half *half = halves;
    while (half < halves + MOST - 1 && half->id_server) half++;
    *half = (struct half){in->address, in->type, k};
}

static void log_in(const struct message *in) {
    int k;
    if (is_second(in, &k)) {
        if (strcmp(users[k].password, in->text)) {
            answer(in, "error");
            return;
        }
        users[k].id_server = in->address;
    } else {
        for (k = count; k > 0 && strcmp(users[k].name, in->text); k--) {}
        if (!k || users[k].id_server) {
            answer(in, "error");
            return;
        }
        was_first(in, k);
    }
    answer(in, "poprawne");
}

static void list(const struct message *in, int group) {
    char text[400] = "", line[64];
    for (int k = 1; k <= count; k++) {
        if (group ? !users[k].member[group] : !users[k].id_server) continue;
        snprintf(line, sizeof line, "%d. %s\n", k, users[k].name);
        strcat(text, line);
    }
    answer(in, text);
}

static void change(const struct message *in, int member) {
    char text[400] = "", state[8];
    int k, group;
    if (!is_second(in, &k)) {
        was_first(in, index_of(in->text));
        return;
    }
    group = atoi(in->text);
    if (group >= 1 && group <= GROUPS) users[k].member[group] = member;
    for (int j = 1; j <= GROUPS; j++) {
        snprintf(state, sizeof state, "%d ", users[k].member[j]);
        strcat(text, state);
    }
    answer(in, text);
}

static void to_group(const struct message *in) {
    if (in->address < 1 || in->address > GROUPS) return;
    for (int k = 1; k <= count; k++)
        if (users[k].id_server && users[k].member[in->address])
            put(users[k].id_server, 19, in->text, in->address);
}

static void to_user(const struct message *in) {
    if (in->type > count || in->address < 1 || in->address > count) return;
    struct user *to = &users[in->address];
    if (to->id_server) put(to->id_server, in->type, in->text, to->id_server);
}

static void serve(const struct message *in) {
    switch (in->type) {
    case 100: log_in(in); break;
    case 12: users[index_of(in->text)].id_server = 0; break;
    case 13: list(in, 0); break;
    case 14: change(in, 1); break;
    case 15: change(in, 0); break;
    case 16:
        if (atoi(in->text) >= 1 && atoi(in->text) <= GROUPS) list(in, atoi(in->text));
        else answer(in, "");
        break;
    case 19: to_group(in); break;
    default: to_user(in);
    }
}

int main(int argc, char **argv) {
    struct message in;
    if (argc != 3) return 2;
    read_config(argv[2]);
    queue = msgget(atoi(argv[1]), IPC_CREAT | 0600);
    if (queue < 0) return 2;
    while (msgrcv(queue, &in, sizeof in - sizeof(long), 0, MSG_NOERROR) >= 0) {
        in.text[sizeof in.text - 1] = 0;
        serve(&in);
    }
    return 0;
}
