/*
 * A server of `lanes`, written from the document of that dialect and nothing else: what a client
 * must get along with. Everything is sent in the full size of the struct.
 *
 *   lanes_server KEY CONFIG BASIC
 *
 * CONFIG has a line "o login password" per user and then "g name" per group. The server makes the
 * file BASIC of it, without passwords, and ends when its queue is removed.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#define MOST 32

struct buf_elem {
    long mtype;
    int first;
    int second;
    char mess[512];
};

static struct user {
    char name[32], password[32];
    int logged_in;
} users[MOST + 1];

static struct group {
    char name[32];
    int member[MOST + 1];
} groups[MOST + 1];

static int p, g, queue;
static const char *basic;

static void read_config(const char *path) {
    FILE *file = fopen(path, "r");
    char kind;
    if (!file) exit(2);
    while (fscanf(file, " %c", &kind) == 1) {
        if (kind == 'o' && p < MOST) {
            p++;
            if (fscanf(file, "%31s %31s", users[p].name, users[p].password) != 2) exit(2);
        } else if (kind == 'g' && g < MOST) {
            g++;
            if (fscanf(file, "%31s", groups[g].name) != 1) exit(2);
        } else {
            exit(2);
        }
    }
    fclose(file);
}

static void write_basic(void) {
    char fresh[4096];
    snprintf(fresh, sizeof fresh, "%s.new", basic);
    FILE *file = fopen(fresh, "w");
    if (!file) exit(2);
    for (int k = 1; k <= p; k++) fprintf(file, "o %d %s \n", k, users[k].name);
    for (int j = 1; j <= g; j++) {
        fprintf(file, "g %d %s ", j, groups[j].name);
        for (int k = 1; k <= p; k++)
            if (groups[j].member[k]) fprintf(file, "%d ", k);
        fprintf(file, "\n");
    }
    fclose(file);
    if (rename(fresh, basic)) exit(2);
}

static void put(long mtype, int first, int second, const char *mess) {
    struct buf_elem out;
    memset(&out, 0, sizeof out);
    out.mtype = mtype;
    out.first = first;
    out.second = second;
    snprintf(out.mess, sizeof out.mess, "%s", mess);
    if (msgsnd(queue, &out, sizeof out - sizeof(long), 0)) exit(0);
}

/* The answer to user k. */
static void answer(int k, int second, const char *mess) {
    put(k + 3 + p, k + 3, second, mess);
}

static void log_in(const struct buf_elem *in) {
    char name[512] = "", password[512] = "";
    sscanf(in->mess, "%511s %511s", name, password);
    for (int k = 1; k <= p; k++) {
        if (strcmp(users[k].name, name)) continue;
        if (strcmp(users[k].password, password)) {
            put(2, 0, 1, "Zle haslo\n");
        } else if (users[k].logged_in) {
            put(2, 0, 1, "Taka osoba juz jest zalogowana\n");
        } else {
            users[k].logged_in = 1;
            put(2, k + 3, 0, "Zalogowano\n");
            put(2, p, g, "");
        }
        return;
    }
    put(2, 0, 1, "Zly login\n");
}

static void list_users(int to) {
    char mess[512] = "";
    for (int k = 1; k <= p; k++)
        if (users[k].logged_in) strcat(strcat(mess, users[k].name), ",");
    answer(to, 0, mess);
}

static void list_members(int to, int j) {
    char mess[512] = "";
    for (int k = 1; k <= p; k++)
        if (groups[j].member[k]) strcat(strcat(mess, users[k].name), " ");
    answer(to, 0, mess);
}

static void to_group(const struct buf_elem *in, int from, int j) {
    if (!groups[j].member[from]) {
        answer(from, 0, "Nie nalezysz do tej grupy\n");
        return;
    }
    for (int k = 1; k <= p; k++)
        if (k != from && groups[j].member[k]) put(k + 3, in->first, j, in->mess);
    answer(from, 0, "Wiadomosc wyslana");
}

static void serve(const struct buf_elem *in) {
    int from = in->first - 3, second = in->second;
    if (second == 1) {
        log_in(in);
        return;
    }
    if (from < 1 || from > p || !users[from].logged_in) return;
    if (second == 2) {
        users[from].logged_in = 0;
        answer(from, 0, "Do widzenia\n");
    } else if (second == 3) {
        list_users(from);
    } else if (second <= 3 + g) {
        groups[second - 3].member[from] = 1;
        write_basic();
        answer(from, second - 3, "Zapisano\n");
    } else if (second <= 3 + 2 * g) {
        groups[second - 3 - g].member[from] = 0;
        write_basic();
        answer(from, second - 3 - g, "Wypisano\n");
    } else if (second <= 3 + 3 * g) {
        list_members(from, second - 3 - 2 * g);
    } else if (second <= 3 + 4 * g) {
        to_group(in, from, second - 3 - 3 * g);
    } else if (second <= 3 + 4 * g + p) {
        put(second - 4 * g, in->first, 0, in->mess);
        answer(from, 0, "Wiadomosc wyslana");
    }
}

int main(int argc, char **argv) {
    struct buf_elem in;
    if (argc != 4) return 2;
    basic = argv[3];
    read_config(argv[2]);
    write_basic();
    queue = msgget(atoi(argv[1]), IPC_CREAT | 0600);
    if (queue < 0) return 2;
    while (msgrcv(queue, &in, sizeof in - sizeof(long), 1, MSG_NOERROR) >= 0) serve(&in);
    return 0;
}
